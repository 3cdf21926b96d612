/** The chat as people use it: two windows, curl, and whatever a person may write. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Person, curl, newChannel } from './browser.mjs';

test('two windows talk, and both see what curl publishes', async () => {
  const channel = newChannel();
  const ann = await Person.arrive(channel, { name: 'Ann' });
  const ben = await Person.arrive(channel, { name: 'Ben' });

  await ann.say('Anybody here?');
  await ben.sees('Anybody here?');
  await ben.say('Yes, me.');
  await ann.sees('Yes, me.');
  await curl(channel, '-d', 'hello');
  await ann.sees('hello');
  await ben.sees('hello');

  for (const person of [ann, ben]) {
    assert.deepEqual(await person.texts(), ['Anybody here?', 'Yes, me.', 'hello']);
    assert.deepEqual(await person.authors(), ['Ann', 'Ben', 'anonymous']);
  }
  assert.deepEqual(await ann.page.locator('.own .said').allTextContents(), ['Anybody here?']);
  assert.deepEqual(await ben.page.locator('.own .said').allTextContents(), ['Yes, me.']);
  await ann.leaveContent();
  await ben.leaveContent();
});

test('a page that opens later shows what was said before', async () => {
  const channel = newChannel();
  await curl(channel, '-d', '{"from":"Ann","text":"as text"}');
  await curl(channel, '-H', 'Content-Type: application/json', '-d', '{"from":"Ben","text":"as JSON"}');
  await curl(channel, '-H', 'Content-Type: application/json', '-d', '{"temperature":11.5}');
  await curl(channel, '-H', 'Content-Type: application/octet-stream', '--data-binary', '\u0001\u0002');
  await curl(channel, '-d', 'bare');

  const kim = await Person.arrive(channel);
  await kim.sees('bare');
  const expected = ['as text', 'as JSON', '{\n  "temperature": 11.5\n}', '2 bytes\n01 02', 'bare'];
  assert.deepEqual(await kim.texts(), expected);
  assert.deepEqual((await kim.authors()).slice(0, 3), ['Ann', 'Ben', 'anonymous']);

  await kim.say('live');
  assert.deepEqual(await kim.texts(), [...expected, 'live']);
  await kim.leaveContent();
});

test('what arrives live looks as it does in the history', async () => {
  const channel = newChannel();
  const early = await Person.arrive(channel);
  await curl(channel, '-H', 'Content-Type: application/json', '-d', '{"temperature":11.5}');
  await curl(channel, '-H', 'Content-Type: application/octet-stream', '--data-binary', '\u0001\u0002');
  await curl(channel, '-d', '42');
  await early.sees('42');
  const late = await Person.arrive(channel);
  await late.sees('42');
  assert.deepEqual(await early.texts(), await late.texts());
  await early.leaveContent();
  await late.leaveContent();
});

test('markup in a name or a message is text', async () => {
  const channel = newChannel();
  const markup = '<img src=x onerror="window.broken = true"><script>window.broken = true</script>';
  const ann = await Person.arrive(channel, { name: '<b>Ann</b>' });
  const ben = await Person.arrive(channel);
  await ann.say(markup);
  await ben.sees(markup);
  await curl(channel, '-d', `${markup} from curl`);
  for (const person of [ann, ben]) {
    await person.sees(`${markup} from curl`);
    assert.deepEqual(await person.texts(), [markup, `${markup} from curl`]);
    assert.equal((await person.authors())[0], '<b>Ann</b>');
    assert.equal(await person.page.locator('#log').locator('img, script, b').count(), 0);
    assert.equal(await person.page.evaluate(() => 'broken' in window), false);
    await person.leaveContent();
  }
});

test('a name is remembered, and a window without one gets its own', async () => {
  const ann = await Person.arrive(newChannel());
  const name = ann.page.getByLabel('You are');
  const given = await name.inputValue();
  assert.match(given, /^\w+ \w+$/);
  await ann.page.reload();
  assert.equal(await name.inputValue(), given);
  await name.fill('Ann');
  await name.press('Enter');
  const second = await ann.context.newPage();
  await second.goto(ann.page.url());
  assert.equal(await second.getByLabel('You are').inputValue(), 'Ann');
  await ann.leaveContent();
});

test('the address and the field choose the channel', async () => {
  const [first, second] = [newChannel(), newChannel()];
  await curl(first, '-d', 'in the first');
  await curl(second, '-d', 'in the second');
  const ann = await Person.arrive(first);
  await ann.sees('in the first');

  const field = ann.page.getByRole('textbox', { name: 'Channel' });
  await field.fill(second);
  await field.press('Enter');
  await ann.sees('in the second');
  assert.deepEqual(await ann.texts(), ['in the second']);
  assert.match(await ann.page.locator('#curl').textContent(), new RegExp(`^curl -d 'hello' http://.*/c/${second}$`, 'm'));
  assert.match(await ann.page.locator('#socket').textContent(), new RegExp(`new WebSocket\\("ws://.*/c/${second}"\\)`));

  await ann.page.goBack();
  await ann.sees('in the first');
  await field.fill('../etc');
  await field.press('Enter');
  await ann.page.getByRole('alert').filter({ hasText: '../etc' }).waitFor();
  assert.equal(await field.inputValue(), first);
  await ann.page.goto(`${new URL('/', ann.page.url())}?channel=${second}`);
  await ann.sees('in the second');
  await ann.leaveContent();
});

test('the line to paste can be copied', async () => {
  const channel = newChannel();
  const ann = await Person.arrive(channel, { permissions: ['clipboard-read', 'clipboard-write'] });
  await ann.page.getByRole('button', { name: 'Copy' }).first().click();
  await ann.page.getByRole('button', { name: 'Copied' }).waitFor();
  const copied = await ann.page.evaluate(() => navigator.clipboard.readText());
  assert.equal(copied, await ann.page.locator('#curl').textContent());
  await ann.leaveContent();
});
