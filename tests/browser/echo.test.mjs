/** Chromium's own WebSocket, with no code of ours on its side: against `sockeye echo`, and on a channel. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, curl, newChannel, required, serverUrl } from './browser.mjs';

const echoUrl = required('SOCKEYE_ECHO_URL');
const channelUrl = (channel) => `${serverUrl.replace(/^http/, 'ws')}/c/${channel}`;
const SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 1_048_576];

// A page of the server's origin with no script of its own, and without the policy that would keep it from the echo server.
const page = await browser.newPage({ bypassCSP: true });
await page.goto(`${serverUrl}/favicon.svg`);

test('text of every length comes back as it was', async () => {
  const answers = await page.evaluate(
    async ({ url, sizes }) => {
      const socket = new WebSocket(url);
      await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onclose: reject }));
      const answers = [];
      for (const size of sizes) {
        // Two-byte letters, so that a length in bytes is not a length in characters.
        const text = 'é'.repeat(size / 2) + 'e'.repeat(size % 2);
        const answer = new Promise((resolve) => (socket.onmessage = ({ data }) => resolve(data)));
        socket.send(text);
        answers.push((await answer) === text);
      }
      socket.close();
      return answers;
    },
    { url: echoUrl, sizes: SIZES },
  );
  assert.deepEqual(answers, SIZES.map(() => true));
});

test('bytes of every length come back as they were', async () => {
  const answers = await page.evaluate(
    async ({ url, sizes }) => {
      const socket = new WebSocket(url);
      socket.binaryType = 'arraybuffer';
      await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onclose: reject }));
      const answers = [];
      for (const size of sizes) {
        const bytes = Uint8Array.from({ length: size }, (_, n) => (n * 31 + (n >> 8)) & 255);
        const answer = new Promise((resolve) => (socket.onmessage = ({ data }) => resolve(data)));
        socket.send(bytes);
        const back = new Uint8Array(await answer);
        answers.push(back.length === size && back.every((byte, n) => byte === bytes[n]));
      }
      socket.close();
      return answers;
    },
    { url: echoUrl, sizes: SIZES },
  );
  assert.deepEqual(answers, SIZES.map(() => true));
});

test('a thousand messages come back in order', async () => {
  const back = await page.evaluate(async (url) => {
    const socket = new WebSocket(url);
    const back = [];
    await new Promise((resolve, reject) => {
      socket.onclose = reject;
      socket.onopen = () => {
        for (let n = 0; n < 1000; n += 1) socket.send(String(n));
      };
      socket.onmessage = ({ data }) => back.push(Number(data)) === 1000 && resolve();
    });
    socket.close();
    return back;
  }, echoUrl);
  assert.deepEqual(back, Array.from({ length: 1000 }, (_, n) => n));
});

test('the browser closes with a code and a reason, and gets them back', async () => {
  for (const [code, reason] of [[1000, ''], [1000, 'done'], [4001, 'genug für heute'], [4999, 'x'.repeat(123)]]) {
    const closed = await closeEvent(echoUrl, { close: [code, reason] });
    assert.deepEqual(closed, { code, reason, wasClean: true });
  }
  assert.deepEqual(await closeEvent(echoUrl, { close: [] }), { code: 1005, reason: '', wasClean: true });
});

test('the server closes with a code and a reason, and the browser sees them', async () => {
  const tooBig = await closeEvent(echoUrl, { sendBytes: 1_048_577 });
  assert.equal(tooBig.code, 1009);
  assert.equal(tooBig.wasClean, true);
  assert.notEqual(tooBig.reason, '');
});

test('a plain WebSocket on a channel is all a page needs', async () => {
  const channel = newChannel();
  const { at } = await curl(channel, '-d', 'earlier');
  await page.evaluate(async (url) => {
    window.seen = [];
    window.socket = new WebSocket(url);
    socket.binaryType = 'arraybuffer';
    socket.onmessage = ({ data }) => seen.push(typeof data === 'string' ? data : [...new Uint8Array(data)]);
    await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onclose: reject }));
    socket.send('from the page');
  }, channelUrl(channel));
  await page.waitForFunction(() => window.seen.length === 1);
  await curl(channel, '-d', 'from curl');
  await page.waitForFunction(() => window.seen.length === 2);
  await page.evaluate(() => window.socket.send(new Uint8Array([0, 1, 255])));
  await page.waitForFunction(() => window.seen.length === 3);
  assert.deepEqual(await page.evaluate(() => window.seen), ['from the page', 'from curl', [0, 1, 255]]);
  await page.evaluate(() => window.socket.close());

  const resumed = await page.evaluate(
    (url) =>
      new Promise((resolve, reject) => {
        const got = [];
        const socket = new WebSocket(url);
        socket.onclose = reject;
        socket.onmessage = ({ data }) => got.push(data) === 2 && resolve(got);
      }),
    `${channelUrl(channel)}?after=${at}`,
  );
  assert.deepEqual(resumed, ['from the page', 'from curl']);
});

test('a position that cannot be resumed from closes with 4410', async () => {
  const channel = newChannel();
  const { at } = await curl(channel, '-d', 'only this');
  const ahead = at.replace(/\d+$/, (offset) => String(Number(offset) + 1000));
  const closed = await closeEvent(`${channelUrl(channel)}?after=${ahead}`, {});
  assert.equal(closed.code, 4410);
  assert.equal(closed.wasClean, true);
});

/** How a connection ends when the page closes it, or sends that many bytes, or only waits. */
function closeEvent(url, deed) {
  return page.evaluate(
    ({ url, deed }) =>
      new Promise((resolve) => {
        const socket = new WebSocket(url);
        socket.onclose = ({ code, reason, wasClean }) => resolve({ code, reason, wasClean });
        socket.onopen = () => {
          if (deed.close) socket.close(...deed.close);
          if (deed.sendBytes) socket.send(new Uint8Array(deed.sendBytes));
        };
      }),
    { url, deed },
  );
}
