/** The browser client behind a real nginx that lets no WebSocket through and holds events back. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, newChannel, required } from './browser.mjs';
import { ClientPage, numbers, publishAll } from './client.mjs';

test('behind an nginx that holds events back it long-polls, and misses nothing', async () => {
  const channel = newChannel();
  const client = await ClientPage.open({ base: required('SOCKEYE_BEHIND_NGINX') });
  await client.subscribe(channel, { after: 'earliest' });
  await publishAll(channel, numbers(1, 5));
  await client.sees('5');
  await client.uses('longpoll');
  await client.publish(channel, '6');
  await client.sees('6');
  assert.deepEqual(await client.received(), numbers(1, 6));
  await client.leave();
});

test('behind it the doctor finds that events are held back and WebSockets do not open', async () => {
  const page = await (await browser.newContext()).newPage();
  await page.goto(`${required('SOCKEYE_BEHIND_NGINX')}/#/doctor/${newChannel()}`);
  await page.locator('#idle').selectOption('0');
  for (const [check, verdict] of [['poll', 'ok'], ['longpoll', 'ok'], ['sse', 'fail'], ['websocket', 'fail'], ['v1', 'fail']]) {
    await page.locator(`[data-check="${check}"][data-verdict="${verdict}"]`).waitFor();
  }
  await page.locator('[data-check="sse"]').getByText('held back').waitFor();
  await page.context().close();
});
