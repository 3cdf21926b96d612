/** Which transports work from this browser: the page says so, also where something in between is in the way. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { browser, serverUrl } from './browser.mjs';

const pictures = process.env.SOCKEYE_SCREENSHOT_DIR;

/** A middlebox: it ends connections whose request forbids (a pattern), and with `cutsIdle` those on which nothing passes for so long. */
class Middlebox {
  #target = new URL(serverUrl);
  #sockets = new Set();

  static async start({ forbids = null, cutsIdle = 0 } = {}) {
    const box = new Middlebox();
    box.listener = net.createServer((near) => box.#pass(near, forbids, cutsIdle)).listen(0, '127.0.0.1');
    await once(box.listener, 'listening');
    box.url = `http://127.0.0.1:${box.listener.address().port}`;
    return box;
  }

  stop() {
    this.listener.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #pass(near, forbids, cutsIdle) {
    const far = net.connect(Number(this.#target.port), this.#target.hostname);
    for (const [socket, other] of [[near, far], [far, near]]) {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => other.destroy());
      if (cutsIdle) socket.setTimeout(cutsIdle, () => socket.destroy());
    }
    near.on('data', (data) => (forbids?.test(data.toString('latin1')) ? near.destroy() : far.write(data)));
    far.pipe(near);
  }
}

async function examine(base, idle, options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  await page.goto(`${base}/#/doctor/river`);
  if (idle) await page.locator('#idle').selectOption(idle);
  return page;
}

/** Waits for a verdict, and gives what is said of the check. */
async function found(page, check, verdict) {
  const row = page.locator(`[data-check="${check}"]`);
  await page.locator(`[data-check="${check}"]:not([data-verdict="wait"])`).waitFor();
  assert.equal(await row.getAttribute('data-verdict'), verdict, `${check}: ${await row.textContent()}`);
  return row.locator('.figure').textContent();
}

test('where nothing is in the way everything works, with its times', async () => {
  const page = await examine(serverUrl, '5');
  await page.locator('#conclusion:not([data-state="running"])').waitFor();
  assert.equal(await page.locator('#conclusion').textContent(), 'Everything works from here.', await page.locator('#findings').innerText());
  for (const check of ['poll', 'clock', 'v1']) await found(page, check, 'ok');
  assert.match(await found(page, 'sse', 'ok'), /^the first byte after [\d.]+ ms, a message after [\d.]+ ms$/);
  assert.match(await found(page, 'websocket', 'ok'), /^open after [\d.]+ ms, a message after [\d.]+ ms$/);
  assert.match(await found(page, 'longpoll', 'ok'), /held for (5\.\d|4\.[5-9]) s/);
  for (const check of ['sse-idle', 'websocket-idle']) assert.equal(await found(page, check, 'ok'), 'open after 5 s of silence');
  if (pictures) await page.screenshot({ path: path.join(pictures, 'doctor.png') });
  await page.context().close();
});

test('where WebSockets are blocked they are said not to work, and the rest to work', async () => {
  const box = await Middlebox.start({ forbids: /^Upgrade: websocket/im });
  const page = await examine(box.url, '0');
  assert.match(await found(page, 'websocket', 'fail'), /^not opened/);
  await found(page, 'v1', 'fail');
  await found(page, 'sse', 'ok');
  await found(page, 'longpoll', 'ok');
  await page.getByText('Does not work from here: WebSocket, sockeye.v1.').waitFor();
  if (pictures) await page.screenshot({ path: path.join(pictures, 'doctor-blocked.png') });
  await page.context().close();
  box.stop();
});

test('where silence is cut, how long it lived is told, and what to set', async () => {
  const box = await Middlebox.start({ cutsIdle: 2_000 });
  const page = await examine(box.url, '5');
  for (const check of ['sse-idle', 'websocket-idle']) assert.match(await found(page, check, 'fail'), /^cut after 2\.\d s$/);
  await page.locator('[data-check="websocket-idle"] .advice').getByText('proxy_read_timeout').waitFor();
  await page.context().close();
  box.stop();
});

test('where other tabs hold all connections the page says so, and blames nothing else', async () => {
  const context = await browser.newContext();
  const tabs = [];
  for (let number = 0; number < 2; number += 1) {
    const tab = await context.newPage();
    await tab.goto(`${serverUrl}/#/doctor/river`);
    await tab.locator('#idle').selectOption('300');
    for (const check of ['sse', 'websocket']) await found(tab, check, 'ok');
    tabs.push(tab);
  }
  const page = await context.newPage();
  await page.goto(`${serverUrl}/#river`);
  await page.locator('#state[data-state="live"]').waitFor();
  // The fifth of six: an application's.
  await tabs[0].evaluate(() => new Promise((opened) => (new EventSource('/c/river').onopen = opened)));
  await page.locator('#idle').evaluate((select) => (select.value = '0'));
  await page.getByRole('link', { name: 'Doctor' }).click();
  await page.locator('#crowded').getByText('2 more tabs').waitFor();
  await page.locator('#conclusion:not([data-state="running"])').waitFor();
  const findings = await page.locator('#findings').innerText();
  assert.equal(await page.locator('[data-verdict="fail"]').count(), 0, findings);
  assert.match(await page.locator('#conclusion').textContent(), /^Not known, .*WebSocket/, findings);
  await page.locator('[data-check="websocket"] .advice').getByText('close other tabs').waitFor();

  for (const tab of tabs) await tab.close();
  await page.locator('#crowded').waitFor({ state: 'hidden' });
  await page.getByRole('button', { name: 'Examine again' }).click();
  await page.getByText('Everything works from here.').waitFor();
  await context.close();
});

test('where nothing answers, nothing else is said to be tried', async () => {
  const box = await Middlebox.start({ forbids: /^GET \/c\//m });
  const page = await examine(box.url, '0');
  await page.getByText('The first request did not work, so nothing else was tried.').waitFor();
  await found(page, 'poll', 'fail');
  await found(page, 'websocket', 'skip');
  await page.context().close();
  box.stop();
});

test('on a phone it fits the screen, and is in Chinese where the browser is', async () => {
  const page = await examine(serverUrl, '0', { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, locale: 'zh-CN' });
  await page.getByRole('heading', { name: '这个浏览器能用哪些传输方式' }).waitFor();
  await page.getByText('从这里一切正常。').waitFor();
  const { wide, visible } = await page.evaluate(() => ({
    wide: document.documentElement.scrollWidth,
    visible: document.documentElement.clientWidth,
  }));
  assert.equal(wide, visible);
  await page.context().close();
});
