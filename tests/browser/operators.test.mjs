/**
 * The page of channels and connections on the address for operators.
 *
 * SOCKEYE_OPERATORS       the base URL of that address
 * SOCKEYE_SCREENSHOT_DIR  where to put pictures of it, if they are wanted
 */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { browser, curl, newChannel, required, serverUrl } from './browser.mjs';

const url = `${required('SOCKEYE_OPERATORS').replace(/\/$/, '')}/tap`;
const shown = (page) => page.locator('#lines li');

/** The page, and what it logged as an error or threw. */
async function open(options) {
  const page = await browser.newPage(options);
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  await page.goto(url);
  await page.locator('#state[data-state="well"]').waitFor();
  return { page, complaints };
}

async function picture(page, name) {
  const folder = process.env.SOCKEYE_SCREENSHOT_DIR;
  if (folder) await page.screenshot({ path: join(folder, `operators-${name}.png`), fullPage: true });
}

/** A client that reads and writes, named `ann`: a WebSocket of a page of the server. */
async function client(channel) {
  const page = await browser.newPage();
  await page.goto(`${serverUrl}/sockeye.js`);
  const socket = await page.evaluateHandle(async (channel) => {
    const socket = new WebSocket(`ws://${location.host}/c/${channel}?as=ann`);
    await new Promise((opened, failed) => Object.assign(socket, { onopen: opened, onerror: failed }));
    return socket;
  }, channel);
  return {
    send: (text) => socket.evaluate((socket, text) => socket.send(text), text),
    close: (code, reason) => socket.evaluate((socket, [code, reason]) => socket.close(code, reason), [code, reason]),
  };
}

test('a channel is found by its name and shows what is published on it', async () => {
  const channel = newChannel();
  await curl(channel, '-d', 'before');
  const { page, complaints } = await open({ viewport: { width: 1200, height: 900 } });
  await page.getByLabel('Names that begin with').fill(channel);
  await page.getByRole('button', { name: `Tap channel ${channel}` }).click();
  await shown(page).filter({ hasText: `${channel} at ` }).waitFor();
  await curl(channel, '-d', '<img src=x onerror=alert(1)>');
  await shown(page).filter({ hasText: '<img src=x onerror=alert(1)>' }).waitFor();
  await curl(channel, '-H', 'Content-Type: application/json', '-d', '{"a":1}');
  await shown(page).filter({ hasText: '{"a":1}' }).filter({ hasText: 'by http 127.0.0.1' }).waitFor();
  const socket = await client(channel);
  await shown(page).filter({ hasText: 'subscribed' }).filter({ hasText: 'ann' }).waitFor();
  await page.locator('#channels tr[aria-current]', { hasText: channel }).waitFor();
  await page.locator('#channels tr', { hasText: '1 ws' }).waitFor();
  await picture(page, 'channel');
  await socket.close(1000, '');
  await shown(page).filter({ hasText: 'unsubscribed' }).waitFor();
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.locator('#tap-state', { hasText: 'Stopped' }).waitFor();
  assert.deepEqual(complaints, []);
  await page.close();
});

test('tables with long names are whole at the width of a small screen', async () => {
  const channel = `${newChannel()}:${'long-name-'.repeat(15)}`;
  const socket = await client(channel);
  const { page, complaints } = await open({ viewport: { width: 1280, height: 800 } });
  await page.locator('#connections tr', { hasText: channel }).waitFor();
  const cut = await page.locator('.wide').evaluateAll((tables) => tables.map((table) => table.scrollWidth - table.clientWidth));
  assert.deepEqual(cut, [0, 0]);
  await socket.close(1000, '');
  assert.deepEqual(complaints, []);
  await page.close();
});

test('a connection shows both directions until it ends', async () => {
  const channel = newChannel();
  const socket = await client(channel);
  const { page, complaints } = await open({ viewport: { width: 420, height: 900 }, colorScheme: 'dark' });
  const row = page.locator('#connections tr', { hasText: channel });
  await row.getByRole('button').click();
  await page.locator('#tap-state[data-state="well"]').waitFor();
  await socket.send('from the client');
  await shown(page).filter({ hasText: '← text' }).filter({ hasText: 'from the client' }).waitFor();
  await shown(page).filter({ hasText: '→ message' }).filter({ hasText: channel }).waitFor();
  await picture(page, 'connection');
  await socket.close(4001, 'enough');
  await shown(page).filter({ hasText: '4001 enough' }).filter({ hasText: 'by the client' }).waitFor();
  await page.locator('#tap-state[data-state="over"]').waitFor();
  await page.waitForFunction((name) => !document.querySelector('#connections').textContent.includes(name), channel, { polling: 50 });
  assert.deepEqual(complaints, []);
  await page.close();
});
