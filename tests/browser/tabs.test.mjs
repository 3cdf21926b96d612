/** The browser client in several tabs: one connection for all of them, which outlives the tab that has it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newChannel, serverUrl } from './browser.mjs';
import { ClientPage, numbers, publishAll } from './client.mjs';
import { Proxy } from './proxy.mjs';

test('tabs share one connection', async () => {
  const [channel, other] = [newChannel(), newChannel()];
  const proxy = await Proxy.to(serverUrl);
  const first = await ClientPage.open({ base: proxy.url });
  await first.subscribe(channel);
  await first.uses('v1');
  const tabs = [first];
  for (let n = 0; n < 3; n += 1) {
    const tab = await ClientPage.open({ base: proxy.url, context: first.context });
    await tab.subscribe(channel);
    await tab.uses('v1');
    tabs.push(tab);
  }
  await tabs[3].page.evaluate((other) => sockeye.subscribe(other, { onmessage: ({ data }) => seen.items.push({ data }) }).ready, other);
  await publishAll(channel, numbers(1, 20));
  await publishAll(other, ['aside']);
  await tabs[3].sees('aside');
  for (const tab of tabs) await tab.sees('20');
  for (const tab of tabs.slice(0, 3)) assert.deepEqual(await tab.received(), numbers(1, 20));
  assert.equal(proxy.count('v1'), 1);
  assert.equal(proxy.count('sse') + proxy.count('longpoll'), 0);
  await first.leave();
  proxy.close();
});

test('a tab that comes later reads the history it wants, and nothing twice', async () => {
  const channel = newChannel();
  const first = await ClientPage.open();
  await first.subscribe(channel, { after: 'earliest' });
  await publishAll(channel, numbers(1, 10));
  await first.sees('10');
  const second = await ClientPage.open({ context: first.context });
  // While messages go on coming.
  const [published] = await Promise.all([publishAll(channel, numbers(11, 60)), second.subscribe(channel, { after: '-5' })]);
  await second.sees('60');
  await first.sees('60');
  const received = await second.received();
  assert.deepEqual(received, numbers(Number(received[0]), 60));
  assert.ok(Number(received[0]) >= 6);
  assert.deepEqual(await first.received(), numbers(1, 60), published);
  await first.leave();
});

test('when the tab with the connection closes, another takes over and nothing is lost', async () => {
  const channel = newChannel();
  const first = await ClientPage.open();
  await first.subscribe(channel, { after: 'earliest' });
  const tabs = [];
  for (let n = 0; n < 3; n += 1) {
    const tab = await ClientPage.open({ context: first.context });
    await tab.subscribe(channel, { after: 'earliest' });
    tabs.push(tab);
  }
  const publishing = publishAll(channel, numbers(1, 300));
  await tabs[0].sees('50');
  await first.page.close();
  await tabs[0].sees('150');
  await tabs.shift().page.close();
  await publishing;
  for (const tab of tabs) {
    await tab.sees('300');
    assert.deepEqual(await tab.received(), numbers(1, 300));
  }
  await first.leave();
});

test('a tab that only closes its client hands the connection on, too', async () => {
  const channel = newChannel();
  const first = await ClientPage.open();
  await first.subscribe(channel);
  const second = await ClientPage.open({ context: first.context });
  await second.subscribe(channel);
  await publishAll(channel, ['1']);
  await second.sees('1');
  await first.page.evaluate(() => sockeye.close());
  await publishAll(channel, ['2']);
  await second.sees('2');
  assert.deepEqual(await second.received(), ['1', '2']);
  assert.deepEqual(await first.received(), ['1']);
  assert.equal(await first.page.evaluate(() => sockeye.state), 'closed');
  await first.leave();
});
