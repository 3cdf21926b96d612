/** The chat when the server goes and comes back: nothing is lost, nothing comes twice, a gap is told. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Person, curl, newChannel, serverUrl } from './browser.mjs';
import { Gate } from './gate.mjs';

test('after a drop the missed messages come, once, and then what was written meanwhile', async () => {
  const channel = newChannel();
  const gate = await Gate.to(serverUrl);
  const ann = await Person.arrive(channel, { name: 'Ann', base: gate.url });
  await ann.say('one');
  await curl(channel, '-d', 'two');
  await ann.sees('two');

  await gate.shut();
  await ann.is('waiting');
  await ann.page.getByRole('status').filter({ hasText: /Reconnecting in \d+ s/ }).waitFor();
  await ann.write('five');
  await ann.page.locator('.pending').filter({ hasText: 'Waiting for the connection' }).waitFor();
  await curl(channel, '-d', 'three');
  await curl(channel, '-d', 'four');

  await gate.open();
  await ann.is('live');
  await ann.sees('five');
  assert.deepEqual(await ann.texts(), ['one', 'two', 'three', 'four', 'five']);
  assert.equal(await ann.page.locator('.gap, .pending').count(), 0);
  await ann.leave();
  await gate.shut();
});

test('a stream that is cut again and again arrives whole and in order', async () => {
  const channel = newChannel();
  const gate = await Gate.to(serverUrl);
  const ann = await Person.arrive(channel, { base: gate.url });
  const sent = Array.from({ length: 300 }, (_, n) => `message ${n};`);
  for (const [n, text] of sent.entries()) {
    await publish(channel, text);
    if (n % 70 !== 60) continue;
    // In the middle of the stream: some of what was published is still on its way.
    await gate.shut();
    await ann.is('waiting');
    await gate.open();
  }
  await ann.sees(sent.at(-1));
  assert.deepEqual(await ann.texts(), sent);
  assert.equal(await ann.page.locator('.gap').count(), 0);
  await ann.leave();
  await gate.shut();
});

test('a message that was on its way arrives, once', async () => {
  const channel = newChannel();
  const gate = await Gate.to(serverUrl);
  const ann = await Person.arrive(channel, { base: gate.url });
  // A socket that takes a message and brings it nowhere, as a network does that has just gone.
  await ann.page.evaluate(() => {
    const { send } = WebSocket.prototype;
    WebSocket.prototype.send = () => (WebSocket.prototype.send = send);
  });
  await ann.write('did it arrive?');
  await ann.page.locator('.pending').filter({ hasText: 'Sending' }).waitFor();
  await gate.shut();
  await ann.is('waiting');
  assert.deepEqual(await ann.texts(), []);
  await gate.open();
  await ann.sees('did it arrive?');
  assert.deepEqual(await ann.texts(), ['did it arrive?']);
  assert.equal(await ann.page.locator('.pending').count(), 0);
  await ann.leave();
  await gate.shut();
});

test('without a network the page says so, and comes back with it', async () => {
  const channel = newChannel();
  const ann = await Person.arrive(channel);
  await ann.context.setOffline(true);
  await ann.is('offline');
  await curl(channel, '-d', 'meanwhile');
  await ann.context.setOffline(false);
  await ann.is('live');
  await ann.sees('meanwhile');
  assert.deepEqual(await ann.texts(), ['meanwhile']);
  await ann.leave();
});

test('a gap that the server tells is shown where it is', async () => {
  const channel = newChannel();
  const gate = await Gate.to(serverUrl);
  const ann = await Person.arrive(channel, { base: gate.url });
  await ann.say('before');
  await gate.shut();
  await ann.is('waiting');
  await curl(channel, '-d', 'never seen');
  await curl(channel, '-X', 'DELETE');
  await curl(channel, '-d', 'after');
  await gate.open();
  await ann.sees('after');
  const lines = await ann.page.locator('#log .said, #log .gap').allTextContents();
  assert.equal(lines.length, 3);
  assert.equal(lines[0], 'before');
  assert.match(lines[1], /history was reset here/);
  assert.equal(lines[2], 'after');
  await ann.leave();
  await gate.shut();
});

async function publish(channel, text) {
  const response = await fetch(`${serverUrl}/c/${channel}`, {
    method: 'POST',
    body: text,
    headers: { 'Content-Type': 'text/plain' },
    signal: AbortSignal.timeout(20_000),
  });
  assert.equal(response.status, 201);
  await response.arrayBuffer();
}
