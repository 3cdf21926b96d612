/** Four transports side by side: every message arrives four times, and what is counted is what goes over the wire. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';
import { browser, serverUrl } from './browser.mjs';

const LANES = ['poll', 'longpoll', 'sse', 'ws'];

/** Counts the bytes in both directions, by what was asked for on a connection. */
class Meter {
  /** @type {Record<string, {sent: number, received: number}>} */
  bytes = Object.fromEntries([...LANES, 'other'].map((lane) => [lane, { sent: 0, received: 0 }]));
  #target = new URL(serverUrl);
  #listener = net.createServer((near) => this.#pass(near));
  #sockets = new Set();

  static async start() {
    const meter = new Meter();
    meter.#listener.listen(0, '127.0.0.1');
    await once(meter.#listener, 'listening');
    meter.url = `http://127.0.0.1:${meter.#listener.address().port}`;
    return meter;
  }

  stop() {
    this.#listener.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  // Requests on a connection follow one another, so an answer belongs to the request before it.
  #pass(near) {
    const far = net.connect(Number(this.#target.port), this.#target.hostname);
    let lane = 'other';
    for (const [socket, other] of [[near, far], [far, near]]) {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => other.destroy());
      socket.pipe(other);
    }
    near.on('data', (data) => {
      lane = laneOf(data.toString('latin1')) ?? lane;
      this.bytes[lane].sent += data.length;
    });
    far.on('data', (data) => (this.bytes[lane].received += data.length));
  }
}

function laneOf(text) {
  if (!/^(GET|POST|HEAD) /.test(text)) return null;
  if (!/^GET \/c\/\S*:compare-/.test(text)) return 'other';
  if (/^Upgrade: websocket/im.test(text)) return 'ws';
  if (/^Accept: text\/event-stream/im.test(text)) return 'sse';
  return /[?&]wait=/.test(text.split('\r\n')[0]) ? 'longpoll' : /after=now/.test(text.split('\r\n')[0]) ? 'other' : 'poll';
}

async function openPage(base = serverUrl, options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  await page.goto(`${base}/#/compare/river`);
  return page;
}

/** A figure of a lane, as it is written. */
function figure(page, lane, name) {
  return page.locator(`[data-lane="${lane}"] [data-figure="${name}"] dd`);
}

/** Waits until a lane has received that many messages. */
async function received(page, lane, count) {
  const locator = `[data-lane="${lane}"] [data-figure="messages"] dd`;
  await page.waitForFunction(([at, count]) => Number(document.querySelector(at).textContent) >= count, [locator, count]);
}

/** Moves a slider to one of its values. */
async function set(page, label, value) {
  await page.getByRole('slider', { name: label }).fill(`${value}`);
}

test('every message arrives on each of the four, and polling is late', async () => {
  const page = await openPage();
  for (const lane of LANES) await received(page, lane, 4);
  for (const lane of LANES) assert.match(await figure(page, lane, 'typical').textContent(), /^[\d.]+ m?s$/);
  assert.equal(await figure(page, 'sse', 'requests').textContent(), '1');
  assert.equal(await figure(page, 'ws', 'requests').textContent(), '1');
  assert.ok(Number(await figure(page, 'longpoll', 'requests').textContent()) >= 4);
  const delays = await Promise.all(['poll', 'ws'].map(async (lane) => inMs(await figure(page, lane, 'worst').textContent())));
  assert.ok(delays[0] > delays[1], `${delays}`);
  await page.context().close();
});

test('the rate and the poll interval can be set, and the count begins anew', async () => {
  const page = await openPage();
  await received(page, 'ws', 2);
  await set(page, 'Messages per second', 6);
  await page.getByText('20 /s').waitFor();
  await set(page, 'Poll every', 0);
  await page.getByText('0.5 s', { exact: true }).waitFor();
  for (const lane of LANES) await received(page, lane, 20);
  // Twenty a second, polled every half second: far fewer polls than messages, and about one long poll for each.
  const requests = Number(await figure(page, 'poll', 'requests').textContent());
  assert.ok(requests < Number(await figure(page, 'poll', 'messages').textContent()), `${requests} polls`);

  await page.getByRole('button', { name: 'Stop' }).click();
  const stopped = await figure(page, 'ws', 'messages').textContent();
  await page.getByRole('button', { name: 'Start' }).click();
  await page.waitForFunction((before) => {
    const now = document.querySelector('[data-lane="ws"] [data-figure="messages"] dd').textContent;
    return Number(now) < Number(before);
  }, stopped);
  await page.context().close();
});

test('in the third tab it says that the tabs wait for each other', async () => {
  const context = await browser.newContext();
  const pages = [];
  for (let number = 0; number < 3; number += 1) {
    pages.push(await context.newPage());
    await pages.at(-1).goto(`${serverUrl}/#/compare/river`);
  }
  for (const page of pages) await page.locator('#crowded').getByText('2 more tabs').waitFor();
  await pages.pop().close();
  for (const page of pages) await page.locator('#crowded').waitFor({ state: 'hidden' });
  await context.close();
});

test('the bytes on the page are those on the wire, within a few per cent', async () => {
  const meter = await Meter.start();
  const page = await openPage(meter.url);
  await page.getByRole('button', { name: 'Stop' }).waitFor();
  await received(page, 'poll', 12);
  await received(page, 'ws', 12);
  await page.getByRole('button', { name: 'Stop' }).click();
  for (const lane of LANES) {
    const [sent, got] = await Promise.all(['sent', 'received'].map(async (name) => inBytes(await figure(page, lane, name).textContent())));
    const wire = meter.bytes[lane];
    near(sent, wire.sent, `${lane}: sent ${sent} of ${wire.sent}`);
    near(got, wire.received, `${lane}: received ${got} of ${wire.received}`);
  }
  await page.context().close();
  meter.stop();
});

test('on a phone it fits the screen, and is in Chinese where the browser is', async () => {
  const page = await openPage(serverUrl, { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, locale: 'zh-CN' });
  await page.getByRole('heading', { name: '同样的消息，四种到达方式' }).waitFor();
  await received(page, 'ws', 1);
  const { wide, visible } = await page.evaluate(() => ({
    wide: document.documentElement.scrollWidth,
    visible: document.documentElement.clientWidth,
  }));
  assert.equal(wide, visible);
  await page.getByRole('button', { name: 'English' }).click();
  await page.getByRole('heading', { name: 'The same messages, four ways' }).waitFor();
  // What is hidden takes no line of the bar.
  const [tabs, bar] = await Promise.all(['.pages', '.bar'].map((part) => page.locator(part).boundingBox()));
  assert.ok(bar.y + bar.height - (tabs.y + tabs.height) < tabs.height, JSON.stringify({ bar, tabs }));
  await page.context().close();
});

function inMs(text) {
  return text.endsWith(' ms') ? parseFloat(text) : parseFloat(text) * 1000;
}

function inBytes(text) {
  const number = parseFloat(text.replace(/,/g, ''));
  return text.endsWith('kB') ? number * 1000 : number;
}

function near(told, real, what) {
  assert.ok(Math.abs(told - real) <= 0.08 * real + 40, what);
}
