/** The browser client and the console where the server asks for tokens. */

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { browser, newChannel, required, serverUrl } from './browser.mjs';
import { ClientPage } from './client.mjs';

const key = required('SOCKEYE_KEY');

/** A token for every channel, valid for that many seconds. */
function mint({ seconds = 600, sub = 'ann', channels = { '*': ['read', 'write', 'presence'] } } = {}) {
  const now = Date.now() / 1000;
  const claims = { sub, iat: Math.floor(now), exp: now + seconds, channels };
  const parts = [{ alg: 'HS256', typ: 'JWT' }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'));
  const signature = createHmac('sha256', key).update(parts.join('.')).digest('base64url');
  return [...parts, signature].join('.');
}

/** A page whose client gets its tokens here. */
async function open(tokens, options = {}) {
  const context = await browser.newContext();
  await context.exposeFunction('nextToken', tokens);
  await context.addInitScript(() => (window.asked = 0));
  const client = await ClientPage.open({ base: serverUrl, context });
  await client.page.evaluate((options) => {
    const Sockeye = window.sockeye.constructor;
    const token = () => {
      window.asked += 1;
      return window.nextToken();
    };
    window.sockeye.close();
    window.sockeye = new Sockeye(undefined, { token, ...options });
    window.sockeye.addEventListener('state', () => seen.states.push(sockeye.transport ?? sockeye.state));
    window.seen.states.length = 0;
  }, options);
  return client;
}

for (const transport of ['v1', 'sse', 'longpoll', 'poll']) {
  test(`a token goes with what is sent by ${transport}`, async () => {
    const channel = newChannel();
    const client = await open(() => mint(), { transports: [transport], pollInterval: 200 });
    await client.subscribe(channel, { after: 'earliest' });
    await client.uses(transport);
    await client.publish(channel, 'with a token');
    await client.sees('with a token');
    assert.equal(await client.page.evaluate(() => asked), 1);
    await client.leave();
  });

  test(`a fresh token comes in time for ${transport}, and nothing is lost`, async () => {
    const channel = newChannel();
    const client = await open(() => mint({ seconds: 3 }), { transports: [transport], pollInterval: 200 });
    await client.subscribe(channel, { after: 'earliest' });
    await client.uses(transport);
    const sent = [];
    while ((await client.page.evaluate(() => asked)) < 4) {
      sent.push(`${sent.length + 1}`);
      await client.publish(channel, sent.at(-1));
    }
    await client.sees(sent.at(-1));
    assert.deepEqual(await client.received(), sent);
    const states = await client.states();
    assert.ok(!states.includes('waiting'), `${states}`);
    await client.leave();
  });
}

test('a token that the server refuses is replaced', async () => {
  const channel = newChannel();
  const tokens = [mint({ seconds: -10 })];
  const client = await open(() => tokens.shift() ?? mint());
  await client.subscribe(channel);
  await client.publish(channel, 'at the second attempt');
  await client.sees('at the second attempt');
  await client.leave();
});

test('without a token, or the right to read, a subscription ends with an error', async () => {
  const stranger = await ClientPage.open({ base: serverUrl });
  const reader = await open(() => mint({ channels: { mine: ['read'] } }));
  for (const [client, code] of [[stranger, 'unauthorized'], [reader, 'forbidden']]) {
    const told = await client.page.evaluate(
      () => new Promise((resolve) => sockeye.subscribe('theirs', { onerror: ({ code }) => resolve(code) })),
    );
    assert.equal(told, code);
    await client.leave();
  }
});

test('the console asks for a token and works with it', async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${serverUrl}/#${newChannel()}`);
  await page.getByRole('dialog', { name: 'Access token' }).waitFor();
  await page.getByRole('dialog').getByLabel('Access token').fill(mint());
  await page.getByRole('button', { name: 'Use it' }).click();
  await page.locator('#state[data-state="live"]').waitFor();
  await page.getByLabel('Message', { exact: true }).fill('let in');
  await page.getByLabel('Message', { exact: true }).press('Enter');
  await page.locator('#log .said').filter({ hasText: 'let in' }).waitFor();

  await page.getByRole('link', { name: 'Inspect' }).click();
  await page.getByText('ann', { exact: true }).waitFor();
  await page.getByRole('link', { name: 'Compare' }).click();
  for (const lane of ['poll', 'longpoll', 'sse', 'ws']) {
    await page.locator(`[data-lane="${lane}"] [data-figure="messages"] dd`).filter({ hasText: /[1-9]/ }).waitFor();
  }
  await context.close();
});
