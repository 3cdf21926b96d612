/**
 * A server that the test itself starts, kills and starts again on the same port, with its channels on disk.
 *
 * SOCKEYE_BIN  the program
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after } from 'node:test';
import { required } from './environment.mjs';

const program = required('SOCKEYE_BIN');

/** A port that nothing listens on now. */
async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** What runs. It ends with the tests, whatever becomes of them. */
const running = new Set();
after(() => running.forEach((server) => server.kill('SIGKILL')));

/** A server with these options, on a port of its own choice. */
export class Served {
  log = '';

  static async start(...options) {
    const served = new Served();
    const args = ['serve', '--listen', '127.0.0.1:0', '--admin', 'off', ...options];
    served.process = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(served.process);
    served.process.stderr.setEncoding('utf8').on('data', (text) => (served.log += text));
    for await (const line of createInterface({ input: served.process.stdout })) {
      const [, address] = /listening on .*?([\d.]+:\d+)/.exec(line) ?? [];
      if (!address) continue;
      served.url = `http://${address}`;
      break;
    }
    served.process.stdout.resume();
    return served;
  }

  /** Publishes without a page. */
  async publish(channel, body) {
    const answer = await fetch(`${this.url}/c/${channel}`, { method: 'POST', body });
    return (await answer.json()).at;
  }

  /** The messages of a channel. */
  async messages(channel) {
    return (await (await fetch(`${this.url}/c/${channel}`)).json()).messages;
  }

  /** How many listen to a channel. */
  async listeners(channel) {
    return (await (await fetch(`${this.url}/c/${channel}/presence`)).json()).count;
  }

  /** Waits until something holds that is asked again and again. */
  static async until(holds) {
    while (!(await holds())) await new Promise((again) => setTimeout(again, 20));
  }

  async stop() {
    this.process.kill('SIGKILL');
    await once(this.process, 'exit');
  }
}

/** A server with its channels in a folder of its own. */
export class Restartable {
  static async start() {
    const server = new Restartable();
    server.port = await freePort();
    server.url = `http://127.0.0.1:${server.port}`;
    server.folder = await mkdtemp(join(tmpdir(), 'sockeye-'));
    await server.#run();
    return server;
  }

  /** Ends it as a crash does, and starts it again. */
  async crash() {
    this.process.kill('SIGKILL');
    await once(this.process, 'exit');
    await this.#run();
  }

  async stop() {
    this.process.kill('SIGKILL');
    await once(this.process, 'exit');
    await rm(this.folder, { recursive: true });
  }

  /** Runs the program until it says that it listens. */
  async #run() {
    const args = ['serve', '--listen', `127.0.0.1:${this.port}`, '--admin', 'off', '--data', this.folder];
    this.process = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    for await (const line of createInterface({ input: this.process.stdout })) {
      if (line.includes(`127.0.0.1:${this.port}`)) break;
    }
    this.process.stdout.resume();
  }

  /** Publishes a text, again and again until it is acknowledged, once. */
  async publish(channel, text) {
    for (;;) {
      try {
        const headers = { 'Content-Type': 'text/plain', 'Idempotency-Key': text };
        const answer = await fetch(`${this.url}/c/${channel}`, { method: 'POST', headers, body: text });
        if (answer.status === 201) return (await answer.json()).at;
      } catch {
        // It is down: the next try may find it up.
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
