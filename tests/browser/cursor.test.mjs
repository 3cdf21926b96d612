/** The console's cursor, in the browser it runs in: what of a page is new beside the frames that came, and what is a gap. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, serverUrl } from './browser.mjs';

/** Counts `frames` after `at`, then goes on to the end of a page. Messages are written as their positions. */
async function advance({ at, frames, page }) {
  const tab = await browser.newPage();
  await tab.goto(`${serverUrl}/favicon.svg`);
  const result = await tab.evaluate(
    async ({ url, at, frames, page }) => {
      const { Cursor } = await import(url);
      const cursor = new Cursor(at);
      for (let n = 0; n < frames; n += 1) cursor.frame();
      const { fresh, gap } = cursor.advance({ ...page, messages: page.messages.map((at) => ({ at })) });
      return { fresh: fresh.map((message) => message.at), gap: gap?.why ?? null, at: cursor.at, frames: cursor.frames };
    },
    { url: `${serverUrl}/cursor.js`, at, frames, page },
  );
  await tab.close();
  return result;
}

test('what came as frames is not new', async () => {
  const page = { at: 'a.14', messages: ['a.11', 'a.12', 'a.13', 'a.14'] };
  assert.deepEqual(await advance({ at: 'a.10', frames: 3, page }), { fresh: ['a.14'], gap: null, at: 'a.14', frames: 0 });
});

test('frames beyond the end of a page are counted on from there', async () => {
  const page = { at: 'a.12', messages: ['a.11', 'a.12'] };
  assert.deepEqual(await advance({ at: 'a.10', frames: 5, page }), { fresh: [], gap: null, at: 'a.12', frames: 3 });
});

test('messages that expired after they were seen leave no gap', async () => {
  const gap = { after: 'a.10', next: 'a.12', why: 'expired' };
  const page = { at: 'a.15', messages: ['a.13', 'a.14', 'a.15'], gap };
  assert.deepEqual(await advance({ at: 'a.10', frames: 4, page }), { fresh: ['a.15'], gap: null, at: 'a.15', frames: 0 });
});

test('messages that expired before they were seen do', async () => {
  const gap = { after: 'a.10', next: 'a.20', why: 'expired' };
  const page = { at: 'a.21', messages: ['a.21'], gap };
  assert.deepEqual(await advance({ at: 'a.10', frames: 4, page }), { fresh: ['a.21'], gap: 'expired', at: 'a.21', frames: 0 });
});

test('in another epoch everything is new, after a gap', async () => {
  const gap = { after: 'a.10', next: 'b.0', why: 'reset' };
  const page = { at: 'b.1', messages: ['b.1'], gap };
  assert.deepEqual(await advance({ at: 'a.10', frames: 4, page }), { fresh: ['b.1'], gap: 'reset', at: 'b.1', frames: 0 });
});
