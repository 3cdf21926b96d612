/**
 * Debian's Firefox, driven by WebDriver BiDi, which it speaks itself: https://w3c.github.io/webdriver-bidi/
 *
 * SOCKEYE_FIREFOX  the browser, if it is not /usr/bin/firefox-esr
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { WebSocket } from 'ws';

export class Firefox {
  #asked = new Map();
  #lastId = 0;

  /** Starts it with a profile of its own. */
  static async launch() {
    const firefox = new Firefox();
    firefox.profile = await mkdtemp(join(tmpdir(), 'firefox-'));
    const args = ['--headless', '--no-remote', '--profile', firefox.profile, '--remote-debugging-port', '0'];
    const program = process.env.SOCKEYE_FIREFOX ?? '/usr/bin/firefox-esr';
    firefox.process = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    const address = await announced(firefox.process.stderr);
    firefox.process.stderr.resume();
    firefox.socket = new WebSocket(`${address}/session`);
    firefox.socket.on('message', (data) => firefox.#answered(JSON.parse(data)));
    await once(firefox.socket, 'open');
    await firefox.command('session.new', { capabilities: { alwaysMatch: { acceptInsecureCerts: true } } });
    return firefox;
  }

  /** Gives a command of WebDriver BiDi. */
  command(method, params) {
    const id = ++this.#lastId;
    this.socket.send(JSON.stringify({ id, method, params }));
    return new Promise((resolve, reject) => this.#asked.set(id, { resolve, reject }));
  }

  #answered({ id, result, error, message }) {
    if (error) this.#asked.get(id)?.reject(new Error(`${error}: ${message}`));
    else this.#asked.get(id)?.resolve(result);
    this.#asked.delete(id);
  }

  /** A page of this URL, when it has loaded. */
  async open(url) {
    const { context } = await this.command('browsingContext.create', { type: 'tab' });
    await this.command('browsingContext.navigate', { context, url, wait: 'complete' });
    return new FirefoxPage(this, context);
  }

  async close() {
    const ended = once(this.process, 'exit');
    await this.command('browser.close', {}).catch(() => {});
    this.socket.close();
    this.process.kill();
    await ended;
    await rm(this.profile, { recursive: true, force: true, maxRetries: 10 });
  }
}

class FirefoxPage {
  constructor(firefox, context) {
    Object.assign(this, { firefox, context });
  }

  /** What an expression, or the promise that it is, comes to. */
  async evaluate(expression) {
    const params = {
      // What it gives comes as text: BiDi's own form of values is another for each type.
      expression: `Promise.resolve(${expression}).then((value) => JSON.stringify(value))`,
      target: { context: this.context },
      awaitPromise: true,
    };
    const { type, result, exceptionDetails } = await this.firefox.command('script.evaluate', params);
    if (type === 'exception') throw new Error(exceptionDetails.text);
    return result.value && JSON.parse(result.value);
  }

  /** Waits until an expression holds. */
  until(expression) {
    const poll = `while (!(${expression})) await new Promise((again) => setTimeout(again, 20))`;
    return this.evaluate(`(async () => { ${poll} })()`);
  }

  close() {
    return this.firefox.command('browsingContext.close', { context: this.context });
  }
}

/** Where it can be driven: it says so. */
async function announced(stderr) {
  for await (const line of createInterface({ input: stderr })) {
    const [, address] = /WebDriver BiDi listening on (\S+)/.exec(line) ?? [];
    if (address) return address;
  }
  throw new Error('Firefox has ended: `cargo xtask test browser` installs firefox-esr');
}
