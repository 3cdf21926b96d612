/** Pages of another origin: let in, or told why not. */

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { readFileSync } from 'node:fs';
import { BROWSERS, Site } from './pages.mjs';
import { Served } from './server.mjs';

const client = readFileSync(new URL('../../clients/js/sockeye.js', import.meta.url), 'utf8');

for (const [name, browser] of Object.entries(BROWSERS)) {
  test(`${name}: a page that is allowed uses every transport, with headers and credentials of its own`, async () => {
    const site = await Site.start({ '/': '<!doctype html>' });
    const server = await Served.start('--allow-origin', site.origin);
    const page = await browser.open(site.origin);
    const url = JSON.stringify(`${server.url}/c/chat`);
    const published = `fetch(${url}, { method: 'POST', body: 'one', credentials: 'include', headers: { 'X-Mine': '1', 'Sockeye-Event': 'thing' } })`;
    assert.equal(await page.evaluate(`${published}.then(({ status }) => status)`), 201);
    await page.evaluate(`void (window.seen = [])`);
    await page.evaluate(`void Object.assign(new EventSource(${url}, { withCredentials: true }), {
      onopen: () => seen.push('open'), onmessage: ({ data }) => seen.push('events ' + data) })`);
    await page.evaluate(`void Object.assign(new WebSocket(${url}), {
      onopen: () => seen.push('open'), onmessage: ({ data }) => seen.push('socket ' + data) })`);
    await page.until(`seen.filter((each) => each === 'open').length === 2`);
    await Served.until(async () => (await server.listeners('chat')) === 2);
    await server.publish('chat', 'two');
    await page.until(`seen.includes('events two') && seen.includes('socket two')`);
    await page.close();
    await server.stop();
    site.stop();
  });

  test(`${name}: a page that is refused hears what to do, once, and asks more and more rarely; so does the operator`, async () => {
    const site = await Site.start({ '/': '<!doctype html>', '/client.js': client });
    const server = await Served.start();
    const page = await browser.open(site.origin);
    await page.evaluate(`import('/client.js').then(({ Sockeye }) => {
      window.sockeye = new Sockeye(${JSON.stringify(server.url)}, { share: false });
      window.errors = [];
      window.waits = [];
      sockeye.addEventListener('state', () => sockeye.state === 'waiting' && waits.push(sockeye.retryAt - Date.now()));
      sockeye.subscribe('chat', { onerror: ({ code, message }) => errors.push({ code, message }) });
    })`);
    await page.until(`errors.length > 0 && sockeye.state === 'waiting'`);
    const [{ code, message }] = await page.evaluate('errors');
    assert.equal(code, 'bad_origin');
    assert.ok(message.includes(`--allow-origin ${site.origin}`), message);
    assert.equal(await page.evaluate('sockeye.error.code'), 'bad_origin');
    // `retry` tries at once; each wait is about twice the one before.
    for (let tries = 2; tries <= 4; tries += 1) {
      await page.evaluate('sockeye.retry()');
      await page.until(`waits.length >= ${tries} && sockeye.state === 'waiting'`);
    }
    const waits = await page.evaluate('waits');
    for (let n = 1; n < 4; n += 1) assert.ok(waits[n] > waits[n - 1] * 1.4, `${waits}`);
    assert.equal((await page.evaluate('errors')).length, 1);
    // One that begins with history hears it as well.
    await page.evaluate(`void sockeye.subscribe('chat', { after: '-5', onerror: ({ code }) => errors.push({ code }) })`);
    await page.until('errors.length === 2');

    await Served.until(() => server.log.includes(`--allow-origin ${site.origin}`));
    assert.equal(server.log.split(`--allow-origin ${site.origin}`).length, 2, server.log);
    await page.close();
    await server.stop();
    site.stop();
  });

  test(`${name}: a history that a refused page begins with is waited for, and the state says why`, async () => {
    const site = await Site.start({ '/': '<!doctype html>', '/client.js': client });
    const server = await Served.start();
    const page = await browser.open(site.origin);
    await page.evaluate(`import('/client.js').then(({ Sockeye }) => {
      window.sockeye = new Sockeye(${JSON.stringify(server.url)});
      window.errors = [];
      sockeye.subscribe('chat', { after: '-5', onerror: ({ code }) => errors.push(code) });
    })`);
    await page.until(`errors.length > 0`);
    const { state, code } = await page.evaluate(`({ state: sockeye.state, code: sockeye.error.code })`);
    assert.deepEqual([state, code], ['waiting', 'bad_origin']);
    await page.close();
    await server.stop();
    site.stop();
  });

  test(`${name}: a file is a page where null is allowed`, async () => {
    const server = await Served.start('--allow-origin', 'null');
    const folder = await mkdtemp(join(tmpdir(), 'sockeye-'));
    await writeFile(join(folder, 'page.html'), '<!doctype html>');
    const page = await browser.open(pathToFileURL(join(folder, 'page.html')).href);
    const url = JSON.stringify(`${server.url}/c/chat`);
    await page.evaluate(`void (window.socket = new WebSocket(${url}), window.events = new EventSource(${url}))`);
    await page.until(`socket.readyState === 1 && events.readyState === 1`);
    assert.ok(server.log.includes('--allow-origin null'), 'it is said aloud');
    await page.close();
    await server.stop();
    await rm(folder, { recursive: true });
  });
}
