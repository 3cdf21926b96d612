/** The browser client in workers: there is no page there, and the same is promised. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, newChannel, serverUrl } from './browser.mjs';
import { ClientPage, numbers, publishAll } from './client.mjs';
import { Proxy } from './proxy.mjs';

/** What a worker runs: it does what it is told, and reports what it sees. */
function inWorker(module, options, port) {
  const seen = [];
  const say = (report) => (seen.push(report), port.postMessage(report));
  import(module).then(async ({ Sockeye }) => {
    const sockeye = new Sockeye(undefined, options);
    sockeye.addEventListener('state', () => say({ state: sockeye.transport ?? sockeye.state }));
    port.onmessage = async ({ data: { subscribe, publish } }) => {
      if (subscribe) {
        const subscription = sockeye.subscribe(subscribe, { after: 'earliest', onmessage: ({ data }) => say({ data }), ongap: (gap) => say({ gap }) });
        say({ ready: await subscription.ready });
      }
      if (publish) say({ published: await sockeye.publish(...publish) });
    };
    say({ loaded: true });
  });
}

/** A page of the server with a worker of a kind, and what the worker has reported. */
async function openWorker(kind, base, options = {}) {
  const context = await browser.newContext({ bypassCSP: true });
  const page = await context.newPage();
  await page.goto(`${base}/favicon.svg`);
  const start = kind === 'SharedWorker' ? 'onconnect = ({ ports: [port] }) => run(port);' : 'run(self);';
  const source = `const run = (port) => (${inWorker})(${JSON.stringify(`${base}/sockeye.js`)}, ${JSON.stringify(options)}, port); ${start}`;
  await page.evaluate(async ([kind, source]) => {
    const url = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }));
    const worker = new globalThis[kind](url, { type: 'module' });
    window.port = worker.port ?? worker;
    window.reports = [];
    await new Promise((resolve, reject) => {
      worker.onerror = (event) => reject(new Error(event.message ?? 'the worker does not start'));
      window.port.onmessage = ({ data }) => (window.reports.push(data), data.loaded && resolve());
    });
  }, [kind, source]);
  return {
    context,
    page,
    tell: (command) => page.evaluate((command) => window.port.postMessage(command), command),
    sees: (data) => page.waitForFunction((data) => window.reports.some((report) => report.data === data), data),
    uses: (transport) => page.waitForFunction((transport) => window.reports.findLast(({ state }) => state)?.state === transport, transport),
    received: () => page.evaluate(() => window.reports.filter((report) => 'data' in report || report.gap).map((report) => report.data ?? report)),
  };
}

for (const kind of ['Worker', 'SharedWorker']) {
  test(`in a ${kind} it reads and publishes over the best transport that gets through`, async () => {
    for (const [rules, transport] of [[{}, 'v1'], [{ v1: 'refuse' }, 'sse'], [{ v1: 'cut', sse: 'refuse' }, 'longpoll']]) {
      const channel = newChannel();
      const proxy = await Proxy.to(serverUrl, rules);
      const worker = await openWorker(kind, proxy.url);
      await publishAll(channel, numbers(1, 5));
      await worker.tell({ subscribe: channel });
      await worker.sees('5');
      await worker.uses(transport);
      await worker.tell({ publish: [channel, '6'] });
      await worker.sees('6');
      proxy.cut();
      await publishAll(channel, numbers(7, 20));
      await worker.sees('20');
      assert.deepEqual(await worker.received(), numbers(1, 20));
      await worker.context.close();
      proxy.close();
    }
  });
}

test('a worker and its page share one connection', async () => {
  const channel = newChannel();
  const proxy = await Proxy.to(serverUrl);
  const worker = await openWorker('Worker', proxy.url);
  const client = await ClientPage.open({ base: proxy.url, context: worker.context });
  await worker.tell({ subscribe: channel });
  await client.subscribe(channel);
  await client.publish(channel, 'both');
  await worker.sees('both');
  await client.sees('both');
  assert.equal(proxy.count('v1'), 1);
  await worker.context.close();
  proxy.close();
});
