/** What a browser has of its own, without our client, misses nothing when the server crashes and starts again. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser } from './browser.mjs';
import { Restartable } from './server.mjs';

const CRASHES = 3;
const MESSAGES_BETWEEN = 20;

/**
 * Runs `listen(url, heard)` in a page, which puts what it hears into the list `heard`; publishes numbers while the server crashes
 * now and then; and checks that all were heard, once, in order.
 */
async function assertResumes(listen) {
  const server = await Restartable.start();
  const tab = await browser.newPage();
  try {
    await tab.goto(`${server.url}/favicon.svg`);
    await tab.evaluate(
      async ({ source, url }) => {
        globalThis.heard = [];
        // The page is a picture: it has no script of its own, and this is the listener the test wrote.
        await new Function(`return (${source})`)()(url, globalThis.heard);
      },
      { source: listen.toString(), url: '/c/numbers' },
    );
    const expected = [];
    for (let crash = 0; crash <= CRASHES; crash += 1) {
      for (let n = 0; n < MESSAGES_BETWEEN; n += 1) {
        const text = String(expected.length);
        expected.push(text);
        await server.publish('numbers', text);
      }
      if (crash < CRASHES) await server.crash();
    }
    await tab.waitForFunction((last) => globalThis.heard.at(-1) === last, expected.at(-1));
    assert.deepEqual(await tab.evaluate(() => globalThis.heard), expected);
  } finally {
    await tab.close();
    await server.stop();
  }
}

test('a native EventSource', async () => {
  await assertResumes(async (url, heard) => {
    const events = new EventSource(url);
    events.onmessage = ({ data }) => heard.push(data);
    events.addEventListener('gap', ({ data }) => heard.push(`gap ${data}`));
    await new Promise((resolve) => (events.onopen = resolve));
  });
});

test('a plain WebSocket that counts what it got', async () => {
  await assertResumes(async (url, heard) => {
    const { headers } = await fetch(url, { method: 'HEAD' });
    let [epoch, offset] = headers.get('ETag').slice(1, -1).split('.');
    const connect = () => {
      const socket = new WebSocket(`ws://${location.host}${url}?after=${epoch}.${offset}`);
      socket.onmessage = ({ data }) => {
        offset = String(BigInt(offset) + 1n);
        heard.push(data);
      };
      socket.onclose = ({ code }) => {
        if (code === 4410) heard.push('gap');
        setTimeout(connect, 100);
      };
      return new Promise((resolve) => (socket.onopen = resolve));
    };
    await connect();
  });
});

for (const [name, wait] of [['polling by fetch', ''], ['long polling by fetch', '&wait=25']]) {
  test(name, async () => {
    const poll = async (url, heard) => {
      const { headers } = await fetch(url, { method: 'HEAD' });
      let at = headers.get('ETag').slice(1, -1);
      const listen = async () => {
        for (;;) {
          try {
            const page = await (await fetch(`${url}?after=${at}WAIT`)).json();
            if (page.gap) heard.push(`gap ${page.gap.why}`);
            heard.push(...page.messages.map(({ data }) => data));
            at = page.at;
          } catch {
            // The server is down: the next one may be up.
          }
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      };
      listen();
    };
    await assertResumes(poll.toString().replace('WAIT', wait));
  });
}
