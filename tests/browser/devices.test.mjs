/**
 * The example `devices`: a dashboard in two tabs, and the page that a user writes.
 *
 * SOCKEYE_DEVICES  the base URL of the dashboard
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, required } from './browser.mjs';

const url = required('SOCKEYE_DEVICES');
const values = (page) => page.$$eval('#devices div', (cells) => cells.map((cell) => cell.textContent));
const until = (page, condition, argument) => page.waitForFunction(condition, argument, { polling: 20 });

async function open() {
  const page = await browser.newPage();
  await page.goto(url);
  await until(page, () => document.querySelectorAll('#devices div').length === 100);
  return page;
}

test('each tab shows the devices that it follows, their last states at once, and then their changes', async () => {
  const [pumps, lamps] = [await open(), await open()];
  await lamps.selectOption('#type', 'lamp');
  await lamps.fill('#from', '2400');
  await lamps.dispatchEvent('#from', 'change');
  await until(lamps, () => document.querySelector('#devices div')?.textContent.startsWith('2400:'));
  const before = await values(pumps);
  assert.equal(before.length, 100);
  assert.match(before[0], /^0: \d+$/);
  await until(pumps, (before) => [...document.querySelectorAll('#devices div')].filter((cell, n) => cell.textContent !== before[n]).length > 50, before);
  const [after, others] = [await values(pumps), await values(lamps)];
  const value = (text) => Number(text.split(': ')[1]);
  after.forEach((text, n) => assert.ok(text.startsWith(`${n}: `) && value(text) >= value(before[n]), text));
  others.forEach((text, n) => assert.ok(text.startsWith(`${n + 2400}: `), text));
  await Promise.all([pumps.close(), lamps.close()]);
});

test('a page needs a WebSocket, send and JSON.parse', async () => {
  const page = await browser.newPage();
  await page.goto(url);
  const [all, few, wrong] = await page.evaluate(async () => {
    const socket = new WebSocket(`ws://${location.host}/devices`);
    const lists = [];
    let told = () => {};
    socket.onmessage = (event) => (lists.push(JSON.parse(event.data)), told());
    const answer = async (params, is) => {
      socket.send(JSON.stringify(params));
      for (;;) {
        const found = lists.find(is);
        if (found) return found;
        await new Promise((resolve) => (told = resolve));
      }
    };
    await new Promise((resolve) => (socket.onopen = resolve));
    const all = await answer({ type: 'meter' }, (list) => list.length === 2500);
    lists.length = 0;
    const few = await answer({ type: 'valve', from: 10, count: 3 }, (list) => list.length === 3 && list[0].number === 10);
    const wrong = await answer({ type: 'teapot' }, (list) => list.error);
    return [all, few, wrong];
  });
  assert.deepEqual(all.map(({ number }) => number), [...Array(2500).keys()]);
  assert.deepEqual(few.map(({ number }) => number), [10, 11, 12]);
  assert.match(wrong.error, /no such type/);
  await page.close();
});
