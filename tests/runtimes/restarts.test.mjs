/** The JavaScript client in programs, over crashes of the server and over tokens that expire: nothing lost, repeated or out of order. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Proxy } from '../browser/proxy.mjs';
import { Served } from '../browser/server.mjs';
import { Program, RUNTIMES, newChannel, numbers } from './programs.mjs';

const MESSAGES = 60;
/** While these are published, the server is killed and started again. */
const CRASHES = ['15', '30', '45'];
const KEY = 'only for tests: 4fd1c9e0b7a5688374655f4e3d2c1b0a';
/** What a runtime is tried with: all that it has of its own, best first, and the next best. */
const WAYS = { v1: {}, sse: { transports: ['sse'] }, longpoll: { transports: ['longpoll'] } };

const folder = mkdtempSync(join(tmpdir(), 'sockeye-'));
after(() => rmSync(folder, { recursive: true }));

for (const runtime of Object.keys(RUNTIMES)) {
  test(`${runtime}: the server crashes while it publishes and reads`, async () => {
    const data = mkdtempSync(join(folder, 'data-'));
    let server = await Served.start('--data', data);
    const proxy = await Proxy.to(server.url);
    const start = ([channel, options]) => Program.start(runtime, { url: proxy.url, channel, after: 'earliest', options, ws: runtime === 'Node 20' });
    const programs = await Promise.all(Object.entries(WAYS).map(start));
    const all = numbers(1, MESSAGES);
    for (const text of all) {
      const published = Promise.all(programs.map((program) => publishes(program, text)));
      if (CRASHES.includes(text)) {
        // In the middle of these publications: the client sends them again, with their keys.
        await server.stop();
        server = await Served.start('--data', data);
        proxy.leadTo(server.url);
      }
      await published;
    }
    for (const program of programs) {
      await program.sees(all.at(-1));
      assert.deepEqual(program.received, all);
      assert.equal(await program.close(), 0);
    }
    proxy.close();
    await server.stop();
  });
}

/** Has it publish a text, and waits until that is acknowledged. */
async function publishes(program, text) {
  const count = () => program.reports.filter(({ published }) => published).length;
  const before = count();
  program.tell({ publish: [text] });
  // It may be waiting for its next attempt: now is as good a time.
  const again = setInterval(() => program.tell({ retry: true }), 300);
  while (count() === before) {
    assert.ok(!program.isOver, 'it runs');
    await once(program, 'report');
  }
  clearInterval(again);
}

test('a token that expires is replaced before, in every runtime, over events and WebSockets', async () => {
  const secret = join(folder, 'secret');
  writeFileSync(secret, KEY);
  const server = await Served.start('--auth-key', secret);
  const cases = Object.keys(RUNTIMES).flatMap((runtime) => Object.values(WAYS).map((options) => ({ runtime, options })));
  await Promise.all(cases.map(async ({ runtime, options }) => {
    const channel = newChannel();
    const ws = runtime === 'Node 20';
    const program = await Program.start(runtime, { url: server.url, channel, options, ws, key: KEY, lifetime: 6 });
    for (let count = 1; count <= 2; count += 1) {
      program.tell({ publish: [`${count}`] });
      await program.sees(`${count}`);
      const tokens = () => program.reports.filter(({ token }) => token).length;
      while (tokens() <= count) await once(program, 'report');
    }
    program.tell({ publish: ['3'] });
    await program.sees('3');
    assert.deepEqual(program.received, numbers(1, 3));
    assert.equal(await program.close(), 0);
  }));
  await server.stop();
});
