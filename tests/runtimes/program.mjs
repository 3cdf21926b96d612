/**
 * A program that uses the package `sockeye-client`: in Node, Bun or Deno. It is told what to do by lines of JSON, and reports in
 * lines of JSON. See `programs.mjs`, which starts it.
 */

import { createHmac } from 'node:crypto';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { Sockeye } from 'sockeye-client';

const { url, channel, after, options = {}, ws, key, lifetime } = JSON.parse(process.argv[2]);
const say = (report) => process.stdout.write(`${JSON.stringify(report)}\n`);
const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A token for a few seconds. */
function token() {
  const iat = Math.floor(Date.now() / 1000);
  const claims = { sub: 'ann', iat, exp: iat + lifetime, channels: { '*': ['read', 'write', 'presence'] } };
  const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
  say({ token: true });
  return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`;
}

if (ws) options.WebSocket = (await import('ws')).WebSocket;
if (key) options.token = token;
const sockeye = new Sockeye(url, options);
sockeye.addEventListener('state', () => say({ state: sockeye.transport ?? sockeye.state, error: sockeye.error?.message }));
const subscription = sockeye.subscribe(channel, {
  after,
  presence: true,
  onmessage: ({ data, event }) => say({ data: ArrayBuffer.isView(data) ? { bytes: [...data] } : data, event }),
  ongap: (gap) => say({ gap }),
  onerror: ({ code }) => say({ refused: code }),
});
const at = await subscription.ready;
say({ ready: at, hasWebSocket: 'WebSocket' in globalThis });

/** Publishes until it is acknowledged, for however long the server is away: with one key, once. */
async function publish(data, options) {
  const key = `${channel}-${JSON.stringify(data)}`;
  for (;;) {
    try {
      return await sockeye.publish(channel, data, { key, ...options });
    } catch (error) {
      if (error.code) throw error;
    }
  }
}

const COMMANDS = {
  publish: async ([data, options]) => say({ published: await publish(data, options) }),
  bytes: async (bytes) => say({ published: await sockeye.publish(channel, Uint8Array.from(bytes)) }),
  read: async (options) => say({ page: await sockeye.read(channel, options) }),
  presence: async () => say({ presence: (await sockeye.presence(channel)).count }),
  retry: () => sockeye.retry(),
  close: () => sockeye.close(),
};
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  for (const [name, value] of Object.entries(JSON.parse(line))) COMMANDS[name](value);
});
