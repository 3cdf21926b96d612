/**
 * Starts `program.mjs` in Node, Bun and Deno, with the package as `npm pack` makes it.
 *
 * SOCKEYE_BIN  the program `sockeye`
 */

import { execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const modules = join(here, 'node_modules');
const deno = ['run', '--quiet', '--allow-all', '--no-lock', '--node-modules-dir=manual'];

/** How each runtime runs a file. */
export const RUNTIMES = {
  [`Node ${process.versions.node.split('.')[0]}`]: [process.execPath],
  'Node 22': [join(modules, `node-linux-${process.arch}/bin/node`)],
  Bun: [join(modules, '.bin/bun'), 'run'],
  Deno: [join(modules, '.bin/deno'), ...deno],
};

/** A folder where the package is installed as users have it. */
export const place = mkdtempSync(join(tmpdir(), 'sockeye-'));
after(() => rmSync(place, { recursive: true }));
const client = fileURLToPath(new URL('../../clients/js', import.meta.url));
const packed = execFileSync('npm', ['pack', '--silent', '--pack-destination', place], { cwd: client, encoding: 'utf8' }).trim();
mkdirSync(join(place, 'node_modules'));
execFileSync('tar', ['-xzf', packed], { cwd: place });
cpSync(join(place, 'package'), join(place, 'node_modules/sockeye-client'), { recursive: true });
symlinkSync(join(modules, 'ws'), join(place, 'node_modules/ws'));
cpSync(join(here, 'program.mjs'), join(place, 'program.mjs'));
const dependencies = { 'sockeye-client': '*', ws: '*' };
writeFileSync(join(place, 'package.json'), JSON.stringify({ type: 'module', dependencies }));

/** What runs. It ends with the tests, whatever becomes of them. */
const running = new Set();
after(() => running.forEach((child) => child.kill('SIGKILL')));

/** The name of a channel that no other test uses. */
export function newChannel() {
  return `test-${randomUUID()}`;
}

/** `from`, …, `to` as texts. */
export function numbers(from, to) {
  return Array.from({ length: to - from + 1 }, (_, n) => `${from + n}`);
}

/** A running program. */
export class Program extends EventEmitter {
  /** Everything it has reported. */
  reports = [];
  #child;

  /** Starts the program, and waits until it knows where its subscription begins. */
  static async start(runtime, config) {
    const program = new Program();
    const [command, ...args] = RUNTIMES[runtime];
    const child = spawn(command, [...args, 'program.mjs', JSON.stringify(config)], { cwd: place, stdio: ['pipe', 'pipe', 'inherit'] });
    program.#child = child;
    running.add(child);
    program.ended = once(child, 'exit').then(([code, signal]) => code ?? signal);
    createInterface({ input: child.stdout }).on('line', (line) => {
      program.reports.push(JSON.parse(line));
      program.emit('report');
    });
    program.ended.then(() => program.emit('report', (program.isOver = true)));
    await program.until(({ ready }) => ready);
    return program;
  }

  /** The messages and gaps that it was given, in order. */
  get received() {
    return this.reports.filter((report) => 'data' in report || report.gap).map(({ data, gap }) => (gap ? { gap } : data));
  }

  /** The transport that works. */
  get transport() {
    return this.reports.findLast(({ state }) => state)?.state;
  }

  /** Gives the first report that is so, once there is one. */
  async until(isSo) {
    for (let found; ; await once(this, 'report')) {
      if ((found = this.reports.find(isSo))) return found;
      if (this.isOver) throw new Error(`it ended: ${JSON.stringify(this.reports)}`);
    }
  }

  /** Waits until it was given this. */
  async sees(data) {
    await this.until((report) => report.data === data);
  }

  /** Waits until this transport works. */
  async uses(transport) {
    while (this.transport !== transport) await once(this, 'report');
  }

  tell(command) {
    this.#child.stdin.write(`${JSON.stringify(command)}\n`);
  }

  /** Has it close its client: it ends then, for nothing is left to do. */
  async close() {
    this.#child.stdin.end(`${JSON.stringify({ close: true })}\n`);
    return this.ended;
  }
}
