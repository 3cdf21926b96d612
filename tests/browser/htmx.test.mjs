/** htmx with its extensions for events and WebSockets, in a page of another origin that is allowed. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BROWSERS, Site } from './pages.mjs';
import { Served } from './server.mjs';

const SCRIPTS = {
  '/htmx.js': { package: 'htmx.org/dist/htmx.js' },
  '/sse.js': { package: 'htmx-ext-sse/dist/sse.js' },
  '/ws.js': { package: 'htmx-ext-ws/dist/ws.js' },
};

/** As their documentation has it. Pages of other origins are asked only if `selfRequestsOnly` is off. */
function page({ url }) {
  return `<!doctype html>
    <meta name="htmx-config" content='{"selfRequestsOnly": false, "withCredentials": true}'>
    ${Object.keys(SCRIPTS).map((path) => `<script src="${path}"></script>`).join('')}
    <div id="feed" hx-ext="sse" sse-connect="${url}/c/feed" sse-swap="message"></div>
    <div hx-ext="ws" ws-connect="${url.replace('http', 'ws')}/c/room">
      <div id="line"></div>
      <form id="say" ws-send><input name="text" value="said"></form>
    </div>
    <form id="post" hx-post="${url}/c/posts" hx-swap="none"><input name="text" value="posted"></form>`;
}

for (const [name, browser] of Object.entries(BROWSERS)) {
  test(`${name}: htmx reads events and a WebSocket, and publishes by both`, async () => {
    const site = await Site.start({ ...SCRIPTS });
    const server = await Served.start('--allow-origin', site.origin);
    site.paths['/'] = page(server);
    const tab = await browser.open(site.origin);

    await Served.until(async () => (await server.listeners('feed')) === 1);
    await server.publish('feed', '<p>from the feed</p>');
    await tab.until(`document.querySelector('#feed p')?.textContent === 'from the feed'`);

    await Served.until(async () => (await server.listeners('room')) === 1);
    await server.publish('room', '<div id="line" hx-swap-oob="true">from the room</div>');
    await tab.until(`document.querySelector('#line').textContent === 'from the room'`);
    await tab.evaluate(`htmx.trigger('#say', 'submit')`);
    await Served.until(async () => (await server.messages('room')).length === 2);
    const [, { data }] = await server.messages('room');
    const { text, HEADERS } = JSON.parse(data);
    assert.deepEqual([text, HEADERS['HX-Request']], ['said', 'true']);

    // It sends headers of its own, so the browser asks first.
    await tab.evaluate(`htmx.trigger('#post', 'submit')`);
    await Served.until(async () => (await server.messages('posts')).length === 1);
    assert.equal((await server.messages('posts'))[0].data, 'text=posted');

    await tab.close();
    await server.stop();
    site.stop();
  });
}
