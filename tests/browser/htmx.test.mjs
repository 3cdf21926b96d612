/** htmx with its extensions for events and WebSockets, in a page of another origin that is allowed. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BROWSERS, Site } from './pages.mjs';
import { Served } from './server.mjs';

/** As the documentation of each has it. Pages of other origins are asked only if htmx is told so. */
const VERSIONS = {
  'htmx 2': {
    scripts: {
      '/htmx.js': { package: 'htmx.org/dist/htmx.js' },
      '/sse.js': { package: 'htmx-ext-sse/dist/sse.js' },
      '/ws.js': { package: 'htmx-ext-ws/dist/ws.js' },
    },
    config: { selfRequestsOnly: false, withCredentials: true },
    feed: (url) => `hx-ext="sse" sse-connect="${url}" sse-swap="message"`,
    room: (url) => `hx-ext="ws" ws-connect="${url}"`,
    send: 'ws-send',
  },
  'htmx 4': {
    scripts: {
      '/htmx.js': { package: 'htmx-4/dist/htmx.js' },
      '/sse.js': { package: 'htmx-4/dist/ext/hx-sse.js' },
      '/ws.js': { package: 'htmx-4/dist/ext/hx-ws.js' },
    },
    config: { mode: 'cors' },
    feed: (url) => `hx-sse:connect="${url}"`,
    room: (url) => `hx-ws:connect="${url}"`,
    send: 'hx-ws:send',
  },
};

function page({ scripts, config, feed, room, send }, { url }) {
  return `<!doctype html>
    <meta name="htmx-config" content='${JSON.stringify(config)}'>
    ${Object.keys(scripts).map((path) => `<script src="${path}"></script>`).join('')}
    <div id="feed" ${feed(`${url}/c/feed`)}></div>
    <div ${room(`${url.replace('http', 'ws')}/c/room`)}>
      <div id="line"></div>
      <form id="say" ${send}><input name="text" value="said"></form>
    </div>
    <form id="post" hx-post="${url}/c/posts" hx-swap="none"><input name="text" value="posted"></form>`;
}

for (const [name, browser] of Object.entries(BROWSERS)) {
  for (const [version, htmx] of Object.entries(VERSIONS)) {
    test(`${name}: ${version} reads events and a WebSocket, and publishes by both`, async () => {
      const site = await Site.start({ ...htmx.scripts });
      // Heartbeats are not to be taken for messages.
      const server = await Served.start('--heartbeat', '20ms', '--allow-origin', site.origin);
      site.paths['/'] = page(htmx, server);
      const tab = await browser.open(site.origin);

      await Served.until(async () => (await server.listeners('feed')) === 1);
      await server.publish('feed', '<p>from the feed</p>');
      await tab.until(`document.querySelector('#feed p')?.textContent === 'from the feed'`);

      await Served.until(async () => (await server.listeners('room')) === 1);
      await server.publish('room', '<div id="line" hx-swap-oob="true">from the room</div>');
      await tab.until(`document.querySelector('#line').textContent === 'from the room'`);
      await tab.evaluate(`void htmx.trigger('#say', 'submit')`);
      await Served.until(async () => (await server.messages('room')).length === 2);
      assert.match((await server.messages('room'))[1].data, /"text": ?"said"/);

      // It sends headers of its own, so the browser asks first.
      await tab.evaluate(`void htmx.trigger('#post', 'submit')`);
      await Served.until(async () => (await server.messages('posts')).length === 1);
      assert.equal((await server.messages('posts'))[0].data, 'text=posted');
      assert.equal(await tab.evaluate(`document.querySelector('#feed').textContent`), 'from the feed');

      await tab.close();
      await server.stop();
      site.stop();
    });
  }
}
