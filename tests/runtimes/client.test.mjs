/** The JavaScript client in programs: every transport of every runtime, as an application sees it. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { Proxy } from '../browser/proxy.mjs';
import { Served } from '../browser/server.mjs';
import { Program, RUNTIMES, newChannel, numbers, place } from './programs.mjs';

const server = await Served.start();

for (const runtime of Object.keys(RUNTIMES)) {
  // Node 20 has no WebSocket of its own.
  const needsWs = runtime === 'Node 20';

  test(`${runtime}: every transport brings what is published, and nothing keeps the program running`, async () => {
    for (const transport of ['v1', 'sse', 'longpoll', 'poll']) {
      const channel = newChannel();
      await server.publish(channel, 'before');
      const options = { transports: [transport], pollInterval: 100 };
      const program = await Program.start(runtime, { url: server.url, channel, after: 'earliest', options, ws: needsWs });
      program.tell({ publish: ['text'] });
      await program.sees('text');
      program.tell({ publish: [{ a: [1, null] }, { event: 'thing' }] });
      assert.deepEqual((await program.until(({ event }) => event)).event, 'thing');
      program.tell({ bytes: [0, 255, 7] });
      await program.until(({ data }) => data?.bytes);
      assert.deepEqual(program.received, ['before', 'text', { a: [1, null] }, { bytes: [0, 255, 7] }]);
      await program.uses(transport);
      program.tell({ presence: true, read: { after: '-1' } });
      assert.equal((await program.until(({ presence }) => presence !== undefined)).presence, 1);
      const { page } = await program.until(({ page }) => page);
      assert.equal(page.messages.length, 1);
      assert.equal(await program.close(), 0);
    }
  });

  test(`${runtime}: without being told how it takes the best there is`, async () => {
    const channel = newChannel();
    const program = await Program.start(runtime, { url: server.url, channel });
    const { hasWebSocket } = await program.until(({ ready }) => ready);
    assert.equal(hasWebSocket, !needsWs);
    await program.uses(needsWs ? 'sse' : 'v1');
    await server.publish(channel, 'now');
    await program.sees('now');
    assert.equal(await program.close(), 0);
  });

  test(`${runtime}: what a proxy blocks gives way, and comes back, without a loss`, async () => {
    const channel = newChannel();
    const proxy = await Proxy.to(server.url, { v1: 'refuse' });
    const options = { pollInterval: 100 };
    const program = await Program.start(runtime, { url: proxy.url, channel, after: 'earliest', options, ws: needsWs });
    const hops = [
      [{ v1: 'refuse' }, 'sse'],
      [{ v1: 'refuse', sse: 'refuse' }, 'longpoll'],
      [{}, 'v1'],
      [{ v1: 'refuse', sse: 'refuse', longpoll: 'refuse' }, 'poll'],
      [{}, 'v1'],
      [{ v1: 'cut', sse: 'refuse' }, 'longpoll'],
    ];
    let count = 0;
    for (const [rules, transport] of hops) {
      proxy.rules = rules;
      proxy.cut();
      // Told that there is another network, it tries everything anew.
      const again = setInterval(() => program.tell({ retry: true }), 300);
      for (const text of numbers(count + 1, (count += 30))) await server.publish(channel, text);
      await program.uses(transport);
      clearInterval(again);
    }
    await program.sees(`${count}`);
    assert.deepEqual(program.received, numbers(1, count));
    assert.equal(await program.close(), 0);
    proxy.close();
  });
}

test('one subscription after the other leaves nothing behind, and thirty channels are live over events', async () => {
  const code = `
    import { Sockeye } from 'sockeye-client';
    const sockeye = new Sockeye('${server.url}', { transports: ['sse'] });
    let warnings = 0;
    process.on('warning', () => (warnings += 1));
    const names = Array.from({ length: 30 }, (_, n) => '${newChannel()}-' + n);
    const seen = await Promise.all(names.map(async (name) => {
      const subscription = sockeye.subscribe(name);
      await subscription.ready;
      await sockeye.publish(name, name);
      for await (const { data } of subscription) return data;
    }));
    sockeye.close();
    console.log(JSON.stringify({ same: String(seen) === String(names), warnings }));`;
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', code], { cwd: place, encoding: 'utf8' });
  assert.deepEqual(JSON.parse(output), { same: true, warnings: 0 });
});

test('the package is there for require, too', () => {
  const code = `const { Sockeye } = require('sockeye-client'); new Sockeye('${server.url}').close(); console.log('there');`;
  assert.equal(execFileSync(process.execPath, ['--input-type=commonjs', '-e', code], { cwd: place, encoding: 'utf8' }), 'there\n');
});

test('without a WebSocket and another transport that is allowed, the error says what to give', () => {
  const code = `import { Sockeye } from 'sockeye-client';
    delete globalThis.WebSocket;
    try { new Sockeye('${server.url}', { transports: ['v1'] }); } catch (error) { console.log(error.name, error.message); }`;
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', code], { cwd: place, encoding: 'utf8' });
  assert.match(output, /^TypeError This runtime has no WebSocket: give a constructor/);
});

test('a fetch of the application makes every request', async () => {
  const code = `import { Sockeye } from 'sockeye-client';
    let requests = 0;
    const own = (url, init) => (requests += 1, fetch(url, init));
    const sockeye = new Sockeye('${server.url}', { fetch: own, transports: ['longpoll'] });
    const subscription = sockeye.subscribe('${newChannel()}');
    await subscription.ready;
    await sockeye.publish(subscription.channel, 'x');
    for await (const { data } of subscription) { console.log(data, requests >= 3); break; }
    sockeye.close();`;
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', code], { cwd: place, encoding: 'utf8' });
  assert.equal(output, 'x true\n');
});
