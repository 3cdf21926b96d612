/** The example `answer`: an answer that is read token by token, over a reload of the page and restarts of the channel server. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, required } from './browser.mjs';

const url = required('SOCKEYE_ANSWER');
const text = (page) => page.textContent('#answer');
const grows = (page, length) =>
  page.waitForFunction((length) => document.getElementById('answer').textContent.length > length, length, { polling: 20 });

test('an answer that is reloaded and whose server is restarted in its middle is read whole, and once', async () => {
  const page = await browser.newPage();
  await page.goto(url);
  await page.click('form button');
  await grows(page, 20);
  await page.reload();
  // It begins anew, and goes on.
  await grows(page, (await text(page)).length);
  const shown = [];
  for (let restart = 0; restart < 2; restart += 1) {
    await page.click('#restart');
    shown.push(await text(page));
    await grows(page, shown.at(-1).length);
  }
  await page.waitForFunction(() => document.getElementById('state').textContent === 'complete', undefined, { polling: 20 });
  const whole = await text(page);
  assert.match(whole, /^They go back .* leave in spring\.$/);
  for (const part of shown) assert.ok(whole.startsWith(part), part);
  await page.reload();
  await page.waitForFunction((whole) => document.getElementById('answer').textContent === whole, whole, { polling: 20 });
  await page.close();
});
