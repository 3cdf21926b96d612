/**
 * The example `shop` in a browser: its own sessions decide, by a cookie that no script reads.
 *
 * SOCKEYE_SHOP  the base URL of the shop
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, required } from './browser.mjs';

const shop = required('SOCKEYE_SHOP');

/** A browser of its own, with cookies of its own. */
async function visit(name) {
  const context = await browser.newContext();
  const page = await context.newPage();
  await signIn(page, name);
  return { context, page };
}

async function signIn(page, name) {
  await page.goto(shop);
  await page.locator('[name=name]').fill(name);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await says(page, `Signed in as ${name}.`);
}

const says = (page, text) => page.getByRole('status').filter({ hasText: text }).waitFor();
const shows = (page, item, step) => page.locator('tr').filter({ hasText: item }).filter({ hasText: step }).waitFor();

async function order(page, item) {
  await page.locator('[name=item]').fill(item);
  await page.getByRole('button', { name: 'Order' }).click();
}

test('orders are live in every window of their customer, and in no other', async () => {
  const ann = await visit('ann');
  const second = await ann.context.newPage();
  await second.goto(shop);
  await says(second, 'Signed in as ann.');
  const ben = await visit('ben');
  await order(ann.page, 'a red hat');
  await shows(ann.page, 'a red hat', 'sent');
  await shows(second, 'a red hat', 'sent');
  await order(ben.page, 'two socks');
  await shows(ben.page, 'two socks', 'sent');
  assert.equal(await ben.page.locator('tr').count(), 1);
  assert.equal(await ann.page.locator('tr').count(), 1);

  // A page that comes later sees the orders of before, and goes on after a drop where it was.
  await second.reload();
  await shows(second, 'a red hat', 'sent');
  await ann.context.setOffline(true);
  await ann.context.setOffline(false);
  await order(ann.page, 'a scarf');
  await shows(second, 'a scarf', 'sent');

  const status = (path) => ben.page.evaluate(async (url) => (await fetch(url)).status, path);
  assert.equal(await status('/live/c/orders:ann'), 403);
  assert.equal(await status('/live/c/orders:ben'), 200);

  // Signed out in one window, the other stops by itself.
  await second.getByRole('button', { name: 'Sign out' }).click();
  await says(ann.page, 'You are not signed in.');
  await says(second, 'You are not signed in.');
  assert.equal(await ann.page.locator('tr').count(), 0);
  await says(ben.page, 'Signed in as ben.');
  await signIn(ann.page, 'ann');
  await shows(ann.page, 'a scarf', 'sent');
  await Promise.all([ann, ben].map(({ context }) => context.close()));
});
