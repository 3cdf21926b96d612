/** The browser client: what an application gets from it when nothing is in the way. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { build } from '../../clients/js/build.mjs';
import { newChannel, serverUrl } from './browser.mjs';
import { ClientPage, numbers, publishAll } from './client.mjs';

test('the bundles are made from their sources, and weigh less than 8 KB', async () => {
  for (const [name, bundle] of Object.entries(build())) {
    const kept = readFileSync(new URL(`../../clients/js/${name}`, import.meta.url));
    assert.equal(kept.toString(), bundle, 'run `node build.mjs` in clients/js');
    assert.ok(gzipSync(kept, { level: 9 }).length < 7900, name);
    const [folder, served] = name.split('/');
    if (folder === 'served') assert.equal(await (await fetch(`${serverUrl}/${served}`)).text(), bundle);
  }
});

test('what is published arrives as it was published', async () => {
  const channel = newChannel();
  const client = await ClientPage.open();
  await client.subscribe(channel);
  const positions = await client.page.evaluate(async (channel) => {
    const bytes = Uint8Array.of(0, 255, 7);
    return [
      await sockeye.publish(channel, 'text'),
      await sockeye.publish(channel, { a: [1, null] }, { event: 'thing' }),
      await sockeye.publish(channel, bytes),
      await sockeye.publish(channel, bytes.buffer),
    ];
  }, channel);
  await client.page.waitForFunction(() => seen.items.length === 4);
  assert.deepEqual(await client.items(), [
    { data: 'text', at: positions[0] },
    { data: { a: [1, null] }, event: 'thing', at: positions[1] },
    { data: [0, 255, 7], at: positions[2] },
    { data: [0, 255, 7], at: positions[3] },
  ]);
  await client.leave();
});

test('a subscription begins where it is told to', async () => {
  const channel = newChannel();
  const client = await ClientPage.open();
  await publishAll(channel, numbers(1, 9));
  const { at } = await (await fetch(`${serverUrl}/c/${channel}?after=-1`)).json();
  await publishAll(channel, ['10']);
  const seen = await client.page.evaluate(async ([channel, at]) => {
    const starts = [undefined, at, '-3', 'earliest', '10m'];
    const lists = starts.map(() => []);
    const opened = starts.map((after, n) => sockeye.subscribe(channel, { after, onmessage: ({ data }) => lists[n].push(data) }));
    await Promise.all(opened.map(({ ready }) => ready));
    await sockeye.publish(channel, 'end');
    const isOver = () => lists.every((list) => list.at(-1) === 'end');
    while (!isOver()) await new Promise((again) => setTimeout(again, 20));
    return lists;
  }, [channel, at]);
  const all = [...numbers(1, 10), 'end'];
  assert.deepEqual(seen, [['end'], ['10', 'end'], ['8', '9', '10', 'end'], all, all]);
  await client.leave();
});

test('a history of several pages comes whole', async () => {
  const channel = newChannel();
  const client = await ClientPage.open();
  await publishAll(channel, ['0']);
  const at = (await (await fetch(`${serverUrl}/c/${channel}`)).json()).at;
  // The server keeps a thousand messages; what is older is told as a gap.
  await client.page.evaluate(async (channel) => {
    for (let n = 0; n < 60; n += 1) await Promise.all(Array.from({ length: 20 }, () => sockeye.publish(channel, 'x')));
  }, channel);
  await client.subscribe(channel, { after: at });
  await client.page.waitForFunction(() => seen.items.length >= 1001);
  const items = await client.items();
  assert.equal(items[0].gap.why, 'expired');
  assert.equal(items[0].gap.after, at);
  assert.equal(items.length, 1001);
  await client.leave();
});

test('messages can be iterated over', async () => {
  const channel = newChannel();
  const client = await ClientPage.open();
  await publishAll(channel, numbers(1, 3));
  const seen = await client.page.evaluate(async (channel) => {
    const [list, subscription] = [[], sockeye.subscribe(channel, { after: 'earliest' })];
    for await (const { data } of subscription) {
      list.push(data);
      if (data === '3') sockeye.publish(channel, '4');
      if (data === '4') break;
    }
    await sockeye.publish(channel, '5');
    for await (const item of subscription) list.push(item);
    return list;
  }, channel);
  assert.deepEqual(seen, ['1', '2', '3', '4']);
  await client.leave();
});

test('what comes before the program iterates waits, and so does a refusal', async () => {
  const channel = newChannel();
  const client = await ClientPage.open();
  const seen = await client.page.evaluate(async (channel) => {
    const list = [];
    const subscription = sockeye.subscribe(channel, { after: 'earliest' });
    await subscription.ready;
    for (const text of ['1', '2']) await sockeye.publish(channel, text);
    while (!subscription.at?.endsWith('.2')) await new Promise((again) => setTimeout(again, 10));
    for await (const { data } of subscription) {
      list.push(data);
      if (data === '2') break;
    }
    const refused = sockeye.subscribe('no/channel', { after: '-1' });
    await refused.ready.catch(() => {});
    try {
      for await (const item of refused) list.push(item);
    } catch ({ status }) {
      list.push(status);
    }
    return list;
  }, channel);
  assert.deepEqual(seen, ['1', '2', 404]);
  await client.leave();
});

test('a deleted history is told as a gap, and the channel goes on', async () => {
  const channel = newChannel();
  const client = await ClientPage.open();
  await client.subscribe(channel, { after: 'earliest' });
  await client.publish(channel, 'before');
  await client.sees('before');
  await fetch(`${serverUrl}/c/${channel}`, { method: 'DELETE' });
  await client.publish(channel, 'after');
  await client.sees('after');
  const items = await client.items();
  assert.deepEqual(items.map(({ data, gap }) => data ?? gap.why), ['before', 'reset', 'after']);
  await client.leave();
});

test('a channel that is refused is an error, once, and others are not disturbed', async () => {
  const client = await ClientPage.open();
  const channel = newChannel();
  await client.subscribe(channel);
  await client.page.evaluate(() => {
    sockeye.subscribe('no/channel', { after: '-1', onerror: ({ code, status }) => seen.errors.push(code ?? status) });
  });
  await client.page.waitForFunction(() => seen.errors.length > 0);
  await client.publish(channel, 'still here');
  await client.sees('still here');
  assert.equal((await client.page.evaluate(() => seen.errors)).length, 1);
  await client.leave();
});

test('an error in the application stops nothing', async () => {
  const channel = newChannel();
  const client = await ClientPage.open();
  const thrown = [];
  client.page.on('pageerror', ({ message }) => thrown.push(message));
  await client.page.evaluate(async (channel) => {
    const fails = ({ data }) => {
      throw new Error(`cannot show ${data}`);
    };
    await sockeye.subscribe(channel, { onmessage: fails }).ready;
  }, channel);
  await client.subscribe(channel);
  await client.publish(channel, 'one');
  await client.publish(channel, 'two');
  await client.sees('two');
  assert.deepEqual(await client.received(), ['one', 'two']);
  assert.deepEqual(thrown, ['cannot show one', 'cannot show two']);
  await client.leave();
});

test('reading history is not listening', async () => {
  const channel = newChannel();
  const client = await ClientPage.open();
  await publishAll(channel, ['1']);
  const { messages, count } = await client.page.evaluate(async (channel) => {
    const { messages } = await sockeye.read(channel, { after: 'earliest' });
    const { count } = await sockeye.presence(channel);
    return { messages: messages.length, count };
  }, channel);
  assert.deepEqual([messages, count], [1, 0]);
  await client.leave();
});

for (const transport of ['v1', 'sse', 'longpoll', 'poll']) {
  test(`a position of another server is a gap that says so, over ${transport}`, async () => {
    const channel = newChannel();
    const client = await ClientPage.open({ options: { transports: [transport], pollInterval: 100 } });
    await publishAll(channel, ['kept']);
    await client.subscribe(channel, { after: 'another.7' });
    await client.sees('kept');
    const [{ gap }, { data }] = await client.items();
    assert.deepEqual([gap.why, gap.after, data], ['reset', 'another.7', 'kept']);
    await client.leave();
  });
}

test('a subscription after nothing begins now', async () => {
  const channel = newChannel();
  const client = await ClientPage.open();
  await publishAll(channel, ['before']);
  await client.subscribe(channel, { after: '' });
  await client.publish(channel, 'after');
  await client.sees('after');
  assert.deepEqual(await client.received(), ['after']);
  await client.leave();
});
