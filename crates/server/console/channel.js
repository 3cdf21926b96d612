/**
 * One channel, read and written over a plain WebSocket that comes back by itself.
 *
 * Each connection begins with a poll, which gives the history (or what was missed, and whether there is a gap) and a
 * position; the socket then opens `?after=` that position, so nothing falls between the two.
 */

import { Cursor } from './cursor.js';
import { words } from './words.js';

const HISTORY = 100;
const CATCH_UP = 500;
const SETTLE_EVERY = 50;

const OPEN_WITHIN_MS = 10_000;
const PROBE_AFTER_MS = 30_000;
const PROBE_WITHIN_MS = 3_000;
const BACKOFF_BASE_MS = 500;
const BACKOFF_CAP_MS = 20_000;
const STABLE_MS = 60_000;
const LONGEST_RETRY_AFTER_MS = 300_000;

/**
 * @typedef {import('./cursor.js').Gap} Gap
 * @typedef {{kind: 'connecting'} | {kind: 'live'} | {kind: 'waiting' | 'offline', until: number, reason: string}} State
 * @typedef {object} Listener
 * @property {(payload: unknown, ts: number, history: boolean) => void} message a payload: text, JSON or an
 *   ArrayBuffer; `history` when it is from before the page was opened
 * @property {(why: Gap['why']) => void} gap messages are missing here
 * @property {(state: State) => void} state the connection changed
 */

/** Whether `name` is a channel name: 1 to 255 of `A-Z a-z 0-9 _ - . : ~ @`, beginning with a letter or digit. */
export function isChannelName(name) {
  return /^[A-Za-z0-9][A-Za-z0-9_.:~@-]{0,254}$/.test(name);
}

/** The URL of a channel, beside this page. A valid name needs no escaping. */
export function channelUrl(name, scheme = 'http') {
  const url = new URL(`c/${name}`, new URL('.', location.origin + location.pathname));
  if (scheme === 'ws') url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url;
}

/** How long to wait before attempt `n` (0 is the first): anything up to a bound that doubles, so that clients spread. */
export function backoff(n, random = Math.random) {
  return random() * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** n);
}

export class Channel {
  #name;
  #listener;
  /** @type {Cursor | null} */
  #cursor = null;
  /** @type {WebSocket | null} */
  #socket = null;
  /** Aborts everything under way for the present connection. */
  #attempt = new AbortController();
  #failures = 0;
  #liveSince = 0;
  #retryTimer = 0;
  #probeTimer = 0;
  #listeners = new AbortController();

  /** @param {string} name a valid channel name @param {Listener} listener */
  constructor(name, listener) {
    this.#name = name;
    this.#listener = listener;
    const { signal } = this.#listeners;
    addEventListener('online', () => this.retryNow(), { signal });
    addEventListener('offline', () => this.#probe(), { signal });
    document.addEventListener('visibilitychange', () => document.hidden || this.#wake(), { signal });
    this.#connect();
  }

  /** Publishes text as one frame. False while there is no connection. */
  send(text) {
    if (!this.#liveSince) return false;
    this.#socket.send(text);
    return true;
  }

  /** Connects now if it was waiting to. */
  retryNow() {
    if (this.#retryTimer) this.#connect();
  }

  /** Gives the connection up and makes a new one, for one who has reason to think it is dead. */
  restart() {
    if (this.#liveSince) this.#fail(words.unreachable);
  }

  /** Ends it for good. */
  close() {
    this.#listeners.abort();
    this.#drop();
  }

  async #connect() {
    this.#drop();
    const { signal } = this.#attempt;
    const deadline = setTimeout(() => this.#fail(words.unreachable), OPEN_WITHIN_MS);
    signal.addEventListener('abort', () => clearTimeout(deadline));
    this.#listener.state({ kind: 'connecting' });
    try {
      await (this.#cursor ? this.#catchUp(signal) : this.#history(signal));
      if (!signal.aborted) this.#open(() => clearTimeout(deadline));
    } catch (error) {
      if (signal.aborted) return;
      if (error.code === 'bad_position') this.#startOver();
      this.#fail(error instanceof Refusal ? error.message : words.unreachable, error.retryAfter);
    }
  }

  // Not a position of this server: another one answers at this address now.
  #startOver() {
    this.#cursor = null;
    this.#listener.gap('reset');
  }

  async #history(signal) {
    const page = await this.#poll({ limit: HISTORY }, signal);
    this.#cursor = new Cursor(page.at);
    this.#show(page.messages, true);
  }

  // Until every frame that came is accounted for; the socket brings what is newer still.
  async #catchUp(signal) {
    let page;
    do {
      page = await this.#poll({ after: this.#cursor.at, limit: CATCH_UP }, signal);
      const { fresh, gap } = this.#cursor.advance(page);
      if (gap) this.#listener.gap(gap.why);
      this.#show(fresh, false);
    } while (page.messages.length > 0 && (this.#cursor.frames > 0 || page.messages.length >= CATCH_UP));
  }

  #show(messages, history) {
    for (const message of messages) {
      const payload = 'b64' in message ? bytesOf(message.b64) : message.data;
      this.#listener.message(payload, message.ts, history);
    }
  }

  async #poll(query, signal) {
    const url = channelUrl(this.#name);
    url.search = new URLSearchParams(query);
    const response = await fetch(url, { signal, cache: 'no-store', headers: { Accept: 'application/json' } });
    const body = await response.json().catch(() => ({}));
    signal.throwIfAborted();
    if (response.ok) return body;
    throw new Refusal(response, body);
  }

  #open(opened) {
    const url = channelUrl(this.#name, 'ws');
    url.search = new URLSearchParams({ after: this.#cursor.at });
    const socket = new WebSocket(url);
    this.#socket = socket;
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      opened();
      this.#liveSince = performance.now();
      this.#probeTimer = setInterval(() => this.#probe(), PROBE_AFTER_MS);
      this.#listener.state({ kind: 'live' });
    };
    socket.onmessage = ({ data }) => {
      this.#cursor.frame();
      if (this.#cursor.frames % SETTLE_EVERY === 0) this.#settle();
      this.#listener.message(data, Date.now(), false);
    };
    // 4410 is a gap: the poll of the next connection tells which.
    socket.onclose = ({ code }) => this.#fail(this.#liveSince ? words.cut(code) : words.unreachable);
  }

  async #settle() {
    const { at, frames } = this.#cursor;
    try {
      const page = await this.#poll({ after: at, limit: frames }, this.#attempt.signal);
      if (this.#cursor.at === at) this.#cursor.settle(page);
    } catch {
      // Nothing is lost: the count goes on, and the next drop or the next fifty frames settle it.
    }
  }

  #wake() {
    this.retryNow();
    this.#probe();
  }

  // A page sees no pings, and a socket whose other end is gone (power cut, sleep, another network) may look open for
  // many minutes. So now and then, and whenever the browser says `offline` (which need not concern a server on the same
  // machine), the page asks what comes next: no answer, or a message that the socket does not bring, and it is dead.
  async #probe() {
    const { signal } = this.#attempt;
    const cursor = this.#cursor;
    if (!this.#liveSince) return;
    const { at, frames } = cursor;
    const asked = new AbortController();
    const deadline = setTimeout(() => asked.abort(), PROBE_WITHIN_MS);
    signal.addEventListener('abort', () => asked.abort());
    try {
      const page = await this.#poll({ after: at, limit: frames + 1 }, asked.signal);
      if (page.gap || page.messages.length <= frames) return;
      await new Promise((resolve) => setTimeout(resolve, PROBE_WITHIN_MS));
      if (cursor.at === at && cursor.frames === frames) throw new Error('the socket is behind');
    } catch (error) {
      if (!signal.aborted && !(error instanceof Refusal)) this.#fail(words.unreachable);
    } finally {
      clearTimeout(deadline);
    }
  }

  #fail(reason, retryAfter = 0) {
    if (this.#liveSince && performance.now() - this.#liveSince >= STABLE_MS) this.#failures = 0;
    this.#drop();
    const delay = Math.max(retryAfter, backoff(this.#failures));
    this.#failures += 1;
    this.#retryTimer = setTimeout(() => this.#connect(), delay);
    this.#listener.state({ kind: navigator.onLine ? 'waiting' : 'offline', until: Date.now() + delay, reason });
  }

  // A dead socket may take minutes to say that it closed, so it is let go of, not waited for.
  #drop() {
    this.#attempt.abort();
    this.#attempt = new AbortController();
    clearTimeout(this.#retryTimer);
    clearInterval(this.#probeTimer);
    this.#retryTimer = 0;
    this.#liveSince = 0;
    if (!this.#socket) return;
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#socket = null;
  }
}

/** The server answered, but not with what was asked for. */
class Refusal extends Error {
  /** @param {Response} response @param {{code?: string, detail?: string, title?: string}} problem */
  constructor(response, problem) {
    super(words.refused(response.status, problem.detail ?? problem.title));
    this.code = problem.code;
    const seconds = Number(response.headers.get('Retry-After'));
    this.retryAfter = seconds > 0 ? Math.min(seconds * 1000, LONGEST_RETRY_AFTER_MS) : 0;
  }
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)).buffer;
}
