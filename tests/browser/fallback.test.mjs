/** The browser client when transports are blocked: it finds one that delivers, loses nothing, and goes back up. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newChannel, serverUrl } from './browser.mjs';
import { ClientPage, numbers, publishAll } from './client.mjs';
import { Proxy } from './proxy.mjs';

const CASES = [
  { what: 'with nothing in the way it uses a WebSocket', rules: {}, transport: 'v1' },
  { what: 'a WebSocket that is refused gives way to events', rules: { v1: 'refuse' }, transport: 'sse' },
  { what: 'a WebSocket that opens and is cut gives way to events', rules: { v1: 'cut' }, transport: 'sse' },
  { what: 'events that a proxy holds back give way to long polls', rules: { v1: 'refuse', sse: 'hold' }, transport: 'longpoll' },
  { what: 'events that are refused give way to long polls', rules: { v1: 'cut', sse: 'refuse' }, transport: 'longpoll' },
  { what: 'events that a proxy wants a password for give way to long polls', rules: { v1: 'refuse', sse: 'password' }, transport: 'longpoll' },
  { what: 'polls work when nothing else does', rules: { v1: 'refuse', sse: 'refuse', longpoll: 'refuse' }, transport: 'poll' },
];

for (const { what, rules, transport } of CASES) {
  test(what, async () => {
    const channel = newChannel();
    const proxy = await Proxy.to(serverUrl, rules);
    const client = await ClientPage.open({ base: proxy.url, options: { pollInterval: 200 } });
    await client.subscribe(channel, { after: 'earliest' });
    await publishAll(channel, numbers(1, 5));
    await client.sees('5');
    await client.uses(transport);
    await client.publish(channel, '6');
    await client.sees('6');
    assert.deepEqual(await client.received(), numbers(1, 6));
    assert.ok(proxy.count('v1') <= 2, 'what does not work is left alone');
    await client.leave();
    proxy.close();
  });
}

test('a client that hops between transports in mid-stream loses nothing and repeats nothing', async () => {
  const channel = newChannel();
  const proxy = await Proxy.to(serverUrl);
  const client = await ClientPage.open({ base: proxy.url, options: { pollInterval: 100 } });
  await client.subscribe(channel, { after: 'earliest' });
  const hops = [
    [{ v1: 'refuse' }, 'sse'],
    [{ v1: 'refuse', sse: 'refuse' }, 'longpoll'],
    [{}, 'v1'],
    [{ v1: 'refuse', sse: 'refuse', longpoll: 'refuse' }, 'poll'],
    [{}, 'v1'],
    [{ v1: 'cut', sse: 'refuse' }, 'longpoll'],
    [{ v1: 'refuse' }, 'sse'],
  ];
  await client.uses('v1');
  let count = 0;
  for (const [rules, transport] of hops) {
    proxy.rules = rules;
    const publishing = publishAll(channel, numbers(count + 1, (count += 50)));
    proxy.cut();
    // A browser that comes to another network says so, and the client tries everything anew.
    await client.page.waitForFunction((wanted) => {
      if (sockeye.transport !== wanted) dispatchEvent(new Event('online'));
      return sockeye.transport === wanted;
    }, transport, { polling: 300 });
    await publishing;
  }
  await client.sees(`${count}`);
  assert.deepEqual(await client.received(), numbers(1, count));
  await client.leave();
  proxy.close();
});

test('a better transport is tried again after a while, and takes over without a pause', async () => {
  const channel = newChannel();
  const proxy = await Proxy.to(serverUrl, { v1: 'refuse' });
  // Long enough that no poll is under way when the clock leaps: it would seem to take minutes.
  const options = { transports: ['v1', 'poll'], pollInterval: 3000 };
  const client = await ClientPage.open({ base: proxy.url, options });
  await client.page.clock.install();
  await client.subscribe(channel);
  await client.uses('poll');
  const tried = proxy.count('v1');
  await client.page.clock.fastForward('02:00');
  while (proxy.count('v1') === tried) await client.page.waitForTimeout(50);
  proxy.rules = {};
  await publishAll(channel, ['by polling still']);
  await client.sees('by polling still');
  await client.page.clock.fastForward('04:00');
  await client.uses('v1');
  await publishAll(channel, ['over the WebSocket']);
  await client.sees('over the WebSocket');
  const states = await client.states();
  assert.deepEqual(states.slice(states.indexOf('poll')), ['poll', 'v1']);
  await client.leave();
  proxy.close();
});

test('after a change of network the best transport is tried at once', async () => {
  const proxy = await Proxy.to(serverUrl, { v1: 'refuse' });
  const client = await ClientPage.open({ base: proxy.url });
  await client.subscribe(newChannel());
  await client.uses('sse');
  proxy.rules = {};
  await client.page.evaluate(() => dispatchEvent(new Event('online')));
  await client.uses('v1');
  const states = await client.states();
  assert.deepEqual(states.slice(states.indexOf('sse')), ['sse', 'v1']);
  await client.leave();
  proxy.close();
});

test('a server that is away is asked less and less often, and the client goes on where it was', async () => {
  const channel = newChannel();
  const proxy = await Proxy.to(serverUrl);
  const client = await ClientPage.open({ base: proxy.url });
  await client.subscribe(channel);
  await publishAll(channel, ['before']);
  await client.sees('before');
  proxy.rules = { v1: 'refuse', sse: 'refuse', longpoll: 'refuse', poll: 'refuse' };
  const asked = proxy.asked.length;
  proxy.cut();
  await client.page.waitForFunction(() => sockeye.state === 'waiting' && sockeye.retryAt - Date.now() > 2000);
  assert.ok(proxy.asked.length - asked < 20, `${proxy.asked.length - asked} requests`);
  assert.match(await client.page.evaluate(() => sockeye.error.message), /403|closed/);
  await publishAll(channel, ['meanwhile']);
  proxy.rules = {};
  await client.page.evaluate(() => sockeye.retry());
  await client.sees('meanwhile');
  assert.deepEqual(await client.received(), ['before', 'meanwhile']);
  await client.leave();
  proxy.close();
});

test('many channels over HTTP leave connections for the rest of the page', async () => {
  const channels = Array.from({ length: 9 }, newChannel);
  const client = await ClientPage.open({ options: { transports: ['sse', 'poll'], pollInterval: 200 } });
  for (const channel of channels) await client.subscribe(channel);
  await client.uses('sse');
  for (const channel of channels) await client.publish(channel, channel);
  for (const channel of channels) await client.sees(channel);
  assert.deepEqual((await client.received()).sort(), channels.sort());
  await client.leave();
});

test('a message that was published when the connection broke is there once', async () => {
  const channel = newChannel();
  const proxy = await Proxy.to(serverUrl);
  const client = await ClientPage.open({ base: proxy.url });
  await client.subscribe(channel, { after: 'earliest' });
  await client.uses('v1');
  for (let n = 1; n <= 20; n += 1) {
    const publishing = client.publish(channel, `${n}`);
    if (n % 5 === 0) proxy.cut();
    await publishing;
  }
  await client.sees('20');
  assert.deepEqual(await client.received(), numbers(1, 20));
  await client.leave();
  proxy.close();
});
