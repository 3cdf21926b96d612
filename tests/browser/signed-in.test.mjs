/** The browser client and the console where the server asks for tokens. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { promisify } from 'node:util';
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
  assert.equal(await page.getByRole('dialog').locator('code').textContent(), 'sockeye token');
  assert.ok(!(await page.locator('#complaint').textContent()).includes('`'));
  await page.getByRole('dialog').getByLabel('Access token').fill(mint());
  await page.getByRole('dialog').getByLabel('Access token').press('Enter');
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

test('the dialogue for the token can be left', async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${serverUrl}/#${newChannel()}`);
  await page.getByRole('dialog').getByLabel('Access token').fill(mint());
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  assert.equal(await page.evaluate(() => sessionStorage.getItem('sockeye.token')), null);
  await context.close();
});

test('with a token the commands of the console use one, and do not show it', async () => {
  const [channel, token] = [newChannel(), mint()];
  const context = await browser.newContext();
  await context.addInitScript((token) => sessionStorage.setItem('sockeye.token', token), token);
  const page = await context.newPage();
  await page.goto(`${serverUrl}/#${channel}`);
  await page.locator('#state[data-state="live"]').waitFor();
  assert.ok(!(await page.locator('body').innerText()).includes(token));

  const [publish] = (await page.locator('#curl').textContent()).split('\n');
  const { stdout } = await promisify(execFile)('sh', ['-c', `${publish} -sS --fail-with-body`], { env: { ...process.env, SOCKEYE_TOKEN: token } });
  assert.ok(JSON.parse(stdout).at, stdout);
  await page.locator('#log .said').filter({ hasText: 'hello' }).waitFor();

  assert.match(await page.locator('#client').textContent(), /new Sockeye\(undefined, \{ token \}\)/);
  const socket = await page.locator('#socket').textContent();
  const opened = await page.evaluate(async ([recipe, token]) => {
    const run = new Function('token', `let headers, answer, ticket, ws; return (async () => { ${recipe}\nreturn ws })()`);
    const socket = await run(token);
    return new Promise((resolve) => Object.assign(socket, { onopen: () => resolve(true), onerror: () => resolve(false) }));
  }, [socket, token]).catch((error) => String(error));
  assert.equal(opened, true, socket);
  await context.close();
});

test('the page that examines transports asks for a token, and works with it', async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${serverUrl}/#/doctor/${newChannel()}`);
  await page.getByRole('dialog', { name: 'Access token' }).waitFor();
  await page.getByText('Nothing was tried: the server asks for a token.').waitFor();
  assert.equal(await page.locator('[data-verdict="fail"]').count(), 0);
  await page.getByRole('dialog').getByLabel('Access token').fill(mint());
  await page.getByRole('dialog').getByLabel('Access token').press('Enter');
  await page.locator('#idle').selectOption('0');
  await page.getByText('Everything works from here.').waitFor();
  await context.close();
});
