/** Readers of event streams that are made for pages: what `interop/readers.rs` shows of others. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BROWSERS, Site } from './pages.mjs';
import { Served } from './server.mjs';

const HEARTBEATS = ['--heartbeat', '20ms'];

for (const [name, browser] of Object.entries(BROWSERS)) {
  test(`${name}: sse.js sees messages alone, and heartbeats are none`, async () => {
    const site = await Site.start({ '/': '<!doctype html>', '/sse.js': { package: 'sse.js/lib/sse.js' } });
    const server = await Served.start(...HEARTBEATS, '--allow-origin', site.origin);
    const page = await browser.open(site.origin);
    // It sends no `Accept` unless it is told to, so the URL says what is wanted.
    await page.evaluate(`import('/sse.js').then(({ SSE }) => {
      window.seen = [];
      window.source = new SSE(${JSON.stringify(`${server.url}/c/chat?stream=sse`)}, { start: false });
      source.onmessage = ({ data, id, lastEventId }) => seen.push({ message: JSON.parse(data), id: id ?? lastEventId });
      source.onerror = ({ responseCode }) => seen.push({ error: responseCode });
      source.stream();
    })`);
    await Served.until(async () => (await server.listeners('chat')) === 1);
    const published = [];
    for (let number = 1; number <= 3; number += 1) {
      const length = await page.evaluate('source.xhr.responseText.length');
      await page.until(`source.xhr.responseText.length > ${length} + 10`);
      published.push({ message: { number }, id: await server.publish('chat', JSON.stringify({ number })) });
      await page.until(`seen.length >= ${number}`);
    }
    assert.deepEqual(await page.evaluate('seen'), published);
    await page.evaluate('void source.close()');
    await page.close();
    await server.stop();
    site.stop();
  });
}
