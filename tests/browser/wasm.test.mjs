/**
 * The Rust client in WebAssembly, in a page of Chromium.
 *
 * SOCKEYE_WASM  the folder with `sockeye_page.js` and `sockeye_page_bg.wasm`
 */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { browser, newChannel, required, serverUrl } from './browser.mjs';

const folder = required('SOCKEYE_WASM');
const guarded = JSON.parse(required('SOCKEYE_GUARDED'));

/** A page of the server's origin with the program loaded as `Page`. */
async function arrive(base = serverUrl) {
  // The pages of the server allow no scripts but theirs; a page that is made up here would be of no network, and Chromium lets that
  // reach none.
  const context = await browser.newContext({ bypassCSP: true });
  const page = await context.newPage();
  page.setDefaultTimeout(60000);
  await page.route('**/sockeye_page*', async (route) => {
    const name = new URL(route.request().url()).pathname.split('/').at(-1);
    const contentType = name.endsWith('.wasm') ? 'application/wasm' : 'text/javascript';
    await route.fulfill({ contentType, body: await readFile(join(folder, name)) });
  });
  await page.goto(`${base}/sockeye.js`);
  await page.evaluate(async () => {
    const program = await import('/sockeye_page.js');
    await program.default();
    globalThis.Page = program.Page;
  });
  return { page, context };
}

for (const transport of ['v1', 'sse', 'ndjson', 'longpoll', 'poll']) {
  test(`it reads what was and what comes by ${transport}, in order, and publishes`, async () => {
    const { page, context } = await arrive();
    const channel = newChannel();
    const seen = await page.evaluate(
      async ([channel, transport]) => {
        const program = new globalThis.Page(location.origin, transport, '');
        await program.publish(channel, 'before');
        const reader = await program.subscribe(channel, 'earliest');
        const other = await program.subscribe(`${channel}-2`, 'now');
        await program.publish(channel, 'ä€😀');
        await program.publish(`${channel}-2`, 'there');
        const counted = await program.count(channel, 500);
        const texts = [];
        while (texts.length < 502) texts.push(JSON.parse(await reader.next()).text);
        return {
          texts,
          counted,
          there: JSON.parse(await other.next()).text,
          transport: program.transport(),
          listeners: await program.listeners(channel),
        };
      },
      [channel, transport],
    );
    const numbers = Array.from({ length: 500 }, (_, number) => String(number + 1));
    assert.deepEqual(seen.texts, ['before', 'ä€😀', ...numbers]);
    assert.equal(seen.counted, 500);
    assert.equal(seen.there, 'there');
    assert.equal(seen.transport, transport);
    assert.equal(seen.listeners, 1);
    await context.close();
  });

  test(`a token that is refused is asked for once more by ${transport}`, async () => {
    const { page, context } = await arrive(guarded.url);
    const seen = await page.evaluate(
      async ([channel, transport, token]) => {
        const program = new globalThis.Page(location.origin, transport, `not.a.token,${token}`);
        const reader = await program.subscribe(channel, 'now');
        await program.publish(channel, 'for me');
        const text = JSON.parse(await reader.next()).text;
        const wrong = new globalThis.Page(location.origin, transport, 'not.a.token');
        const refused = await wrong.subscribe(channel, 'now').then(
          () => 'none',
          (error) => error.message,
        );
        return { text, asked: program.asked(), refused };
      },
      [newChannel(), transport, guarded.token],
    );
    assert.equal(seen.text, 'for me');
    assert.equal(seen.asked, 2);
    assert.match(seen.refused, /unauthorized/);
    await context.close();
  });
}

test('where no WebSocket opens it reads by Server-Sent Events', async () => {
  const { page, context } = await arrive();
  const seen = await page.evaluate(async (channel) => {
    globalThis.WebSocket = class {
      constructor() {
        throw new Error('blocked');
      }
    };
    const program = new globalThis.Page(location.origin, 'v1,sse,longpoll', '');
    const reader = await program.subscribe(channel, 'now');
    await program.publish(channel, 'by another way');
    return { text: JSON.parse(await reader.next()).text, transport: program.transport() };
  }, newChannel());
  assert.deepEqual(seen, { text: 'by another way', transport: 'sse' });
  await context.close();
});
