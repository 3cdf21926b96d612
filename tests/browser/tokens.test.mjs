/** Pages, tokens and origins, as a browser sees them: a server with a key, a page that may come, and one that may not. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, newChannel, required, serverUrl } from './browser.mjs';

// A `sockeye serve` with a key to which pages of `serverUrl` may come, and a token for everything there.
const { url: guarded, token } = JSON.parse(required('SOCKEYE_GUARDED'));

/** What a page of `base` gets when it does this: the result, or the name of the error that it sees. */
async function inPage(base, act, extra = {}) {
  const context = await browser.newContext({ bypassCSP: true });
  const page = await context.newPage();
  await page.goto(`${base}/favicon.svg`);
  const result = await page.evaluate(act, { guarded, token, channel: newChannel(), ...extra }).catch((error) => String(error));
  await context.close();
  return result;
}

// The same machine under another name is another site.
const foreign = serverUrl.replace('127.0.0.1', 'localhost');

test('a page of an allowed origin publishes, polls and reads presence with its token', async () => {
  const got = await inPage(serverUrl, async ({ guarded, token, channel }) => {
    const headers = { Authorization: `Bearer ${token}` };
    const url = `${guarded}/c/${channel}`;
    const posted = await fetch(url, {
      method: 'POST',
      headers: { ...headers, 'Content-Type': 'text/plain', 'Idempotency-Key': 'k', 'Sockeye-Event': 'said' },
      body: 'hello',
    });
    const { at } = await posted.json();
    const polled = await fetch(url, { headers: { ...headers, Prefer: 'wait=1', 'Last-Event-ID': 'earliest' } });
    const known = await fetch(url, { headers: { ...headers, 'If-None-Match': `"${at}"` } });
    const present = await fetch(`${url}/presence`, { headers });
    const deleted = await fetch(url, { method: 'DELETE', headers });
    return {
      statuses: [posted, polled, known, present, deleted].map(({ status }) => status),
      etag: posted.headers.get('ETag') === `"${at}"`,
      applied: polled.headers.get('Preference-Applied'),
      data: (await polled.json()).messages[0].data,
      timing: performance.getEntriesByName(url).every((entry) => entry.responseStart > 0),
    };
  });
  assert.deepEqual(got, { statuses: [201, 200, 304, 200, 204], etag: true, applied: 'wait=1', data: 'hello', timing: true });
});

test('a page reads why it was refused', async () => {
  const got = await inPage(serverUrl, async ({ guarded, channel }) => {
    const answer = await fetch(`${guarded}/c/${channel}`, { headers: { Authorization: 'Bearer x' } });
    return [answer.status, (await answer.json()).code, answer.headers.get('WWW-Authenticate')];
  });
  assert.deepEqual(got, [401, 'unauthorized', 'Bearer realm="sockeye", error="invalid_token"']);
});

test('a ticket opens an EventSource and a WebSocket, once each', async () => {
  const got = await inPage(serverUrl, async ({ guarded, token, channel }) => {
    const headers = { Authorization: `Bearer ${token}` };
    const ticket = async () => (await (await fetch(`${guarded}/tickets`, { method: 'POST', headers })).json()).ticket;
    const url = `${guarded}/c/${channel}`;
    const opens = (source) => new Promise((resolve) => {
      source.onopen = () => resolve(true);
      source.onerror = () => resolve(false);
    });
    const [forEvents, forSocket] = [await ticket(), await ticket()];
    const events = new EventSource(`${url}?ticket=${forEvents}`);
    const first = await opens(events);
    const socket = new WebSocket(`${url.replace(/^http/, 'ws')}?ticket=${forSocket}`);
    const second = await opens(socket);
    const heard = new Promise((resolve) => (events.onmessage = ({ data }) => resolve(data)));
    socket.send('from the socket');
    return {
      opened: [first, second],
      heard: await heard,
      again: [await opens(new EventSource(`${url}?ticket=${forEvents}`)), await opens(new WebSocket(`${url.replace(/^http/, 'ws')}?ticket=${forSocket}`))],
      without: [await opens(new EventSource(url)), await opens(new WebSocket(url.replace(/^http/, 'ws')))],
    };
  });
  assert.deepEqual(got, { opened: [true, true], heard: 'from the socket', again: [false, false], without: [false, false] });
});

test('a token offered as a subprotocol opens sockeye.v1, and is not repeated', async () => {
  const got = await inPage(serverUrl, async ({ guarded, token, channel }) => {
    const socket = new WebSocket(`${guarded.replace(/^http/, 'ws')}/c/${channel}`, ['sockeye.v1', `bearer.${token}`]);
    const hello = await new Promise((resolve, reject) => {
      socket.onmessage = ({ data }) => resolve(JSON.parse(data));
      socket.onclose = () => reject(new Error('closed'));
    });
    return [socket.protocol, hello.hello.ch === channel];
  });
  assert.deepEqual(got, ['sockeye.v1', true]);
});

test('a page that may not come gets nothing, and what it sends without asking is not published', async () => {
  const channel = newChannel();
  for (const to of [guarded, serverUrl]) {
    const got = await inPage(foreign, async ({ to, token, channel }) => {
      const url = `${to}/c/${channel}`;
      const fails = (promise) => promise.then(() => false, () => true);
      const opens = (source) => new Promise((resolve) => {
        source.onopen = () => resolve(true);
        source.onerror = () => resolve(false);
      });
      const headers = { Authorization: `Bearer ${token}` };
      // Simple requests: the browser sends them and keeps the answer from the page.
      for (const body of ['forged', new URLSearchParams({ a: 'forged' })]) {
        await fetch(url, { method: 'POST', mode: 'no-cors', body }).catch(() => {});
      }
      navigator.sendBeacon(url, 'forged');
      const image = new Image();
      const shown = new Promise((resolve) => Object.assign(image, { onload: () => resolve(true), onerror: () => resolve(false) }));
      image.src = `${to}/favicon.svg`;
      return {
        fetched: await fails(fetch(url)),
        posted: await fails(fetch(url, { method: 'POST', headers, body: 'x' })),
        events: await opens(new EventSource(url)),
        socket: await opens(new WebSocket(url.replace(/^http/, 'ws'))),
        image: await shown,
      };
    }, { to, channel });
    assert.deepEqual(got, { fetched: true, posted: true, events: false, socket: false, image: false }, to);
    const answer = await fetch(`${to}/c/${channel}`, { headers: { Authorization: `Bearer ${token}` } });
    assert.deepEqual((await answer.json()).messages, [], to);
  }
});
