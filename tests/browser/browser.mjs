/**
 * What the browser tests share: Chromium, a console page that is watched while it is used, and publishing with curl.
 *
 * SOCKEYE_URL             the base URL of a running `sockeye serve`
 * SOCKEYE_ECHO_URL        the WebSocket URL of a running `sockeye echo`
 * SOCKEYE_GUARDED         the base URL of a `sockeye serve` that asks for tokens, and a token, as JSON
 * SOCKEYE_CHROMIUM        the browser, if it is not /usr/bin/chromium
 * SOCKEYE_SCREENSHOT_DIR  where to put pictures of the console, if they are wanted
 */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { after } from 'node:test';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';
import { required } from './environment.mjs';

export { required };

export const serverUrl = required('SOCKEYE_URL').replace(/\/$/, '');

const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Chromium, one for the tests of a file. */
export const browser = await chromium.launch({
  executablePath: process.env.SOCKEYE_CHROMIUM ?? '/usr/bin/chromium',
  args: ARGS,
});
after(() => browser.close());

/** The name of a channel that no other test uses. */
export function newChannel() {
  return `test-${randomUUID()}`;
}

/** Publishes with curl, as the README has it. */
export async function curl(channel, ...data) {
  const { stdout } = await promisify(execFile)('curl', ['-sS', '--fail-with-body', '--max-time', '20', ...data, `${serverUrl}/c/${channel}`]);
  return stdout && JSON.parse(stdout);
}

/** One person at the console: a browser of their own, in a channel. */
export class Person {
  /** What the page logged as an error, threw, or asked of another origin. */
  complaints = [];

  static async arrive(channel, { name, base = serverUrl, ...options } = {}) {
    const person = new Person();
    person.context = await browser.newContext(options);
    person.page = await person.context.newPage();
    person.#watch(new URL(base).host);
    await person.page.goto(`${base}/#${channel}`);
    await person.is('live');
    if (name) {
      await person.page.getByLabel('You are').fill(name);
      await person.page.getByLabel('You are').press('Enter');
    }
    return person;
  }

  #watch(host) {
    const foreign = (url) => {
      if (new URL(url).host !== host) this.complaints.push(`asked for ${url}`);
    };
    this.page.on('request', (request) => foreign(request.url()));
    this.page.on('websocket', (socket) => foreign(socket.url()));
    this.page.on('pageerror', (error) => this.complaints.push(String(error)));
    this.page.on('console', (message) => message.type() === 'error' && this.complaints.push(message.text()));
  }

  /** Waits until the connection is `connecting`, `live`, `waiting` or `offline`. */
  async is(state) {
    await this.page.locator(`#state[data-state="${state}"]`).waitFor();
  }

  /** Writes a message and presses Enter. */
  async write(text) {
    await this.page.getByLabel('Message', { exact: true }).fill(text);
    await this.page.getByLabel('Message', { exact: true }).press('Enter');
  }

  /** Writes a message and waits until it has come back. */
  async say(text) {
    await this.write(text);
    await this.sees(text);
    await this.page.locator('.pending').first().waitFor({ state: 'detached' });
  }

  /** Waits for a message with this text. */
  async sees(text) {
    await this.page.locator('#log .said').filter({ hasText: text }).first().waitFor();
  }

  /** The texts of the messages on the page, in order. */
  texts() {
    return this.page.locator('#log .said').allTextContents();
  }

  /** The authors of the messages on the page, in order. */
  authors() {
    return this.page.locator('#log .author').allTextContents();
  }

  async leave() {
    await this.context.close();
  }

  /** Leaves, and had nothing to complain about. */
  async leaveContent() {
    await this.leave();
    assert.deepEqual(this.complaints, []);
  }
}
