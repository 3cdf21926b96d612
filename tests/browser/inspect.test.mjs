/** The inspector of the console: what is in a channel, from any place on, and what can be done with it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Person, curl, newChannel } from './browser.mjs';

/** A page with the inspector of a channel. */
async function inspect(channel, options) {
  const person = await Person.arrive(channel, options);
  await person.page.locator('#to-inspect').click();
  await person.page.locator('#inspect').waitFor();
  await person.is('live');
  return person;
}

/** The lines on the page, newest first: position, kind, event, beginning of the payload. */
function lines({ page }) {
  return page.locator('.entry summary').evaluateAll((entries) =>
    entries.map((entry) => ['.at', '.kind', '.event', '.preview'].map((part) => entry.querySelector(part)?.textContent ?? '')),
  );
}

function shows({ page }, text) {
  return page.locator('.entry').filter({ hasText: text }).first().waitFor();
}

test('messages are shown with position, kind and event, live and from the history', async () => {
  const channel = newChannel();
  const first = await curl(channel, '-d', 'before');
  const ann = await inspect(channel);
  await shows(ann, 'before');
  const second = await curl(channel, '-H', 'Content-Type: application/json', '-H', 'Sockeye-Event: reading', '-d', '{"a":[1,2]}');
  const third = await curl(channel, '-H', 'Content-Type: application/octet-stream', '-d', 'xyz');
  await shows(ann, '3 bytes');
  assert.deepEqual(await lines(ann), [
    [third.at, 'bytes', '', '3 bytes 78 79 7a'],
    [second.at, 'JSON', 'reading', '{ "a": [ 1, 2 ] }'],
    [first.at, 'text', '', 'before'],
  ]);
  await ann.page.locator('.entry').nth(1).locator('summary').click();
  assert.equal(await ann.page.locator('.entry[open] pre').textContent(), '{\n  "a": [\n    1,\n    2\n  ]\n}');
  await ann.leaveContent();
});

test('one can read again from any place', async () => {
  const channel = newChannel();
  const positions = [];
  for (let n = 0; n < 5; n += 1) positions.push((await curl(channel, '-d', `number ${n}`)).at);
  const ann = await inspect(channel);
  await shows(ann, 'number 0');
  await ann.page.getByLabel('Read from').fill(positions[2]);
  await ann.page.getByRole('button', { name: 'Read', exact: true }).click();
  await ann.page.locator('.entry').nth(1).waitFor();
  assert.deepEqual((await lines(ann)).map(([at]) => at), [positions[4], positions[3]]);
  await ann.page.getByRole('button', { name: 'Now' }).click();
  await ann.page.getByText('No messages.').waitFor();
  await curl(channel, '-d', 'number 5');
  await shows(ann, 'number 5');
  assert.equal((await lines(ann)).length, 1);
  await ann.page.getByRole('button', { name: 'Earliest' }).click();
  await shows(ann, 'number 0');
  assert.equal((await lines(ann)).length, 6);
  await ann.leaveContent();
});

test('paused, it keeps still and loses nothing', async () => {
  const channel = newChannel();
  const ann = await inspect(channel);
  await ann.page.getByRole('button', { name: 'Pause' }).click();
  await curl(channel, '-d', 'one');
  await curl(channel, '-d', 'two');
  await ann.page.getByRole('button', { name: 'Go on (2 new)' }).waitFor();
  assert.deepEqual(await lines(ann), []);
  await ann.page.getByRole('button', { name: 'Go on (2 new)' }).click();
  await shows(ann, 'one');
  assert.deepEqual((await lines(ann)).map(([, , , text]) => text), ['two', 'one']);
  await ann.leaveContent();
});

test('text, JSON and bytes are published as such, with an event or without', async () => {
  const channel = newChannel();
  const ann = await inspect(channel);
  const publish = async (kind, data, event) => {
    await ann.page.getByLabel('As', { exact: true }).selectOption(kind);
    await ann.page.getByLabel('Data', { exact: true }).fill(data);
    await ann.page.getByLabel('Event', { exact: true }).fill(event);
    await ann.page.locator('#publish-form').getByRole('button', { name: 'Publish' }).click();
  };
  await publish('text', '42', '');
  await shows(ann, '42');
  await publish('JSON', '{"n": 42}', 'answer');
  await shows(ann, 'answer');
  await publish('bytes', '00 Ff', '');
  await shows(ann, '2 bytes');
  await publish('JSON', '{nothing', '');
  await ann.page.getByText('That is not JSON.').waitFor();
  await publish('bytes', 'f', '');
  await ann.page.getByText('pairs of hexadecimal digits').waitFor();
  await publish('text', 'reserved', 'gap');
  await ann.page.locator('#published').filter({ hasText: 'The server refused' }).waitFor();
  const { messages } = await curl(channel, '-G');
  assert.deepEqual(messages.map(({ data, b64, event }) => [data ?? b64, event]), [['42', undefined], [{ n: 42 }, 'answer'], ['AP8=', undefined]]);
  assert.equal((await lines(ann)).length, 3);
  await ann.leave();
});

test('the history is deleted only after a second word', async () => {
  const channel = newChannel();
  await curl(channel, '-d', 'to be forgotten');
  const ann = await inspect(channel);
  await shows(ann, 'to be forgotten');
  await ann.page.getByRole('button', { name: 'Delete…' }).click();
  await ann.page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  assert.equal((await curl(channel, '-G')).messages.length, 1);
  await ann.page.getByRole('button', { name: 'Delete…' }).click();
  await ann.page.getByRole('dialog').getByRole('button', { name: 'Delete it' }).click();
  await ann.page.getByText('The history is deleted.').waitFor();
  await ann.page.locator('.divider.gap').waitFor();
  assert.deepEqual((await curl(channel, '-G')).messages, []);
  await ann.leaveContent();
});
