/**
 * The four transports, each in its shortest form: what a page would write that uses one of them alone. They
 * count what they cost, and report what happens. (The client, `sockeye.js`, is what a real page would use.)
 */

import { token } from './connection.js';
import { base, channelUrl } from './place.js';
import { Tally, chunk, frame, handshake, requestHead, responseHead } from './tally.js';

const HOLD_SECONDS = 25;
const AGAIN_AFTER_MS = 1000;

/**
 * @typedef {object} Watcher
 * @property {() => void} request a request goes out
 * @property {(message: {sent: number}, delay: number) => void} message a message arrived, that many milliseconds old
 * @property {(works: boolean) => void} works whether it works
 * @property {() => number} interval how many milliseconds polls are apart
 */

class Lane {
  tally = new Tally();
  #abort = new AbortController();

  /** @param {string} channel @param {string} after where to begin @param {Watcher} watcher */
  constructor(channel, after, watcher) {
    this.url = channelUrl(channel);
    this.at = after;
    this.watcher = watcher;
    // Not before the whole of it is made.
    queueMicrotask(() => this.#keep());
  }

  get signal() {
    return this.#abort.signal;
  }

  stop() {
    this.#abort.abort();
  }

  async #keep() {
    while (!this.signal.aborted) {
      try {
        await this.listen();
      } catch {
        if (this.signal.aborted) return;
        this.watcher.works(false);
        await pause(AGAIN_AFTER_MS, this.signal);
      }
    }
  }

  /** Sends a request for what comes after `at`, and counts both heads. */
  async ask(query, headers) {
    const url = new URL(this.url);
    url.search = new URLSearchParams({ after: this.at, ...query });
    const all = { ...headers, ...(token && { Authorization: `Bearer ${token}` }) };
    this.tally.request(requestHead('GET', url, all));
    this.watcher.request();
    const response = await fetch(url, { headers: all, cache: 'no-store', signal: this.signal });
    this.tally.received += responseHead(response);
    if (!response.ok && response.status !== 304) throw new Error(`The server answered ${response.status}.`);
    this.watcher.works(true);
    return response;
  }

  /** Takes a page of messages. */
  async take(response) {
    if (response.status === 304) return;
    const text = await response.text();
    this.tally.received += byteLength(text);
    const page = JSON.parse(text);
    for (const { data } of page.messages) this.arrived(data);
    this.at = page.at;
  }

  arrived(message) {
    if (typeof message?.sent !== 'number') return;
    const delay = now() - message.sent;
    this.tally.message(delay);
    this.watcher.message(message, delay);
  }
}

export class PollLane extends Lane {
  async listen() {
    await this.take(await this.ask({}, { Accept: 'application/json', 'If-None-Match': `"${this.at}"` }));
    await pause(this.watcher.interval(), this.signal);
  }
}

export class HoldLane extends Lane {
  async listen() {
    await this.take(await this.ask({ wait: HOLD_SECONDS }, { Accept: 'application/json' }));
  }
}

export class EventLane extends Lane {
  async listen() {
    const response = await this.ask({}, { Accept: 'text/event-stream' });
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    for (let rest = ''; ; ) {
      const { done, value } = await reader.read();
      if (done) throw new Error('The stream ended.');
      this.tally.received += chunk(value.length);
      const events = (rest + decoder.decode(value, { stream: true })).split('\n\n');
      rest = events.pop();
      for (const event of events) this.#event(event.split('\n'));
    }
  }

  #event(lines) {
    const field = (name) => lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2));
    const data = field('data').join('\n');
    if (data && !field('event').length) this.arrived(JSON.parse(data));
    this.at = field('id')[0] ?? this.at;
  }
}

export class SocketLane extends Lane {
  async listen() {
    const url = new URL(this.url);
    url.protocol = url.protocol.replace('http', 'ws');
    url.search = new URLSearchParams({ after: this.at, ...(await this.#ticket()) });
    const { sent, received } = handshake(url);
    this.tally.request(sent);
    this.tally.received += received;
    this.watcher.request();
    const socket = new WebSocket(url);
    const stop = () => socket.close();
    this.signal.addEventListener('abort', stop);
    await new Promise((_, reject) => {
      socket.onopen = () => this.watcher.works(true);
      socket.onmessage = ({ data }) => {
        this.tally.received += frame(byteLength(data));
        this.arrived(JSON.parse(data));
      };
      socket.onclose = () => reject(new Error('The socket was closed.'));
    }).finally(() => this.signal.removeEventListener('abort', stop));
  }

  // A browser's WebSocket can't send headers: a ticket, good for once, stands in for the token.
  async #ticket() {
    // What was missed can't be told from payloads; after a drop it begins with what is new.
    if (this.tally.requests) this.at = 'now';
    if (!token) return {};
    const response = await fetch(new URL('tickets', base), { method: 'POST', headers: { Authorization: `Bearer ${token}` } });
    const { ticket } = await response.json();
    return { ticket };
  }
}

/** The time by the clock that stamps messages: milliseconds, with fractions. */
export function now() {
  return performance.timeOrigin + performance.now();
}

const encoder = new TextEncoder();

function byteLength(text) {
  return encoder.encode(text).length;
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true });
  });
}
