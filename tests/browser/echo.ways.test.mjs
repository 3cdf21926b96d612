/** Chromium's own WebSocket in every way there is: plain and compressed, over TCP, over TLS, and over HTTP/2. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, required, serverUrl } from './browser.mjs';
import { Gate } from './gate.mjs';

// `sockeye echo` and a channel of `sockeye serve`, with TLS and without: where they are, and whether they compress.
const servers = JSON.parse(required('SOCKEYE_SERVERS'));

for (const { url, compresses } of servers) {
  const how = `${new URL(url).protocol}//… ${compresses ? 'compressed' : 'uncompressed'}, ${new URL(url).pathname}`;

  test(`${how}: messages come back over HTTP/1.1`, async () => {
    const { page, leave } = await visit();
    await messagesComeBack(page, url, compresses);
    await leave();
  });

  if (!url.startsWith('wss:')) continue;

  test(`${how}: messages come back over the page's own HTTP/2 connection`, async () => {
    const gate = await Gate.to(url.replace(/^ws/, 'http'));
    const { page, leave } = await visit();
    await page.goto(`${gate.url}/favicon.svg`);
    assert.equal(await page.evaluate(() => performance.getEntriesByType('navigation')[0].nextHopProtocol), 'h2');
    const before = gate.connections;
    await messagesComeBack(page, gate.url.replace(/^http/, 'ws') + new URL(url).pathname, compresses);
    await messagesComeBack(page, gate.url.replace(/^http/, 'ws') + new URL(url).pathname, compresses);
    // A WebSocket of HTTP/1.1 has a TCP connection of its own.
    assert.equal(gate.connections, before);
    await leave();
    await gate.shut();
  });
}

/** A page of `serverUrl`, in a browser that knows no other server yet and trusts every certificate. */
async function visit() {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, bypassCSP: true });
  const page = await context.newPage();
  await page.goto(`${serverUrl}/favicon.svg`);
  return { page, leave: () => context.close() };
}

/** Opens a WebSocket, and sends texts and bytes of many lengths, which come back. */
async function messagesComeBack(page, url, compresses) {
  const { extensions, wrong } = await page.evaluate(async (url) => {
    const socket = new WebSocket(url);
    socket.binaryType = 'arraybuffer';
    await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onclose: () => reject(new Error('closed')) }));
    const wrong = [];
    for (const size of [0, 1, 125, 126, 1000, 65_535, 65_536]) {
      const text = 'sockeye '.repeat(size / 8 + 1).slice(0, size);
      for (const message of [text, new TextEncoder().encode(text)]) {
        const answer = new Promise((resolve) => (socket.onmessage = ({ data }) => resolve(data)));
        socket.send(message);
        const back = await answer;
        const same = typeof message === 'string' ? back === text : new TextDecoder().decode(back) === text;
        if (!same) wrong.push(`${typeof message} of ${size}`);
      }
    }
    socket.close();
    return { extensions: socket.extensions, wrong };
  }, url);
  assert.deepEqual(wrong, []);
  assert.equal(extensions.startsWith('permessage-deflate'), compresses);
}
