/** Requests to the server, with the token. */

import { backoff, rarely } from './backoff.js';
import { isBytes } from './message.js';
import { inBrowser } from './runtime.js';
import { sleep } from './timers.js';

const LONGEST_RETRY_AFTER = 300_000;
/** Half of what the server puts into one page, in bytes: after a page of more there may be another. */
const LARGE_PAGE = 512 * 1024;
/** The server does not let pages of this origin use it. */
export const BAD_ORIGIN = 'bad_origin';

/** The server's answer, when it is not what was asked for. `code` is stable, the message is for people. */
export class Problem extends Error {
  constructor({ message, ...about }) {
    super(message);
    Object.assign(this, about);
  }
}

export class Http {
  /** When the token should be replaced. */
  freshUntil = Infinity;
  /** Whether the server has ever answered. */
  answered = false;
  #options;
  #token;
  #naps = new Set();

  constructor(base, options) {
    base.protocol = base.protocol.replace(/^ws/, 'http');
    if (!base.protocol.startsWith('http')) throw new TypeError(`${base} is not the URL of a server: write it as https://example.org/`);
    this.base = base;
    if (!base.pathname.endsWith('/')) base.pathname += '/';
    this.#options = options;
  }

  url(path, query = {}) {
    const url = new URL(path, this.base);
    const all = { ...query, as: this.#options.as };
    for (const [name, value] of Object.entries(all)) if (value !== undefined) url.searchParams.set(name, value);
    return url;
  }

  /** The token to send, if there is one; another when the server refused `refused`. */
  async token(refused) {
    const { token } = this.#options;
    if (typeof token !== 'function') return token === refused ? undefined : token;
    if (!this.#token || this.#token === refused || Date.now() >= this.freshUntil) {
      try {
        this.#token = await token();
      } catch ({ message }) {
        throw new Problem({ message, retryAfter: 1 });
      }
      this.freshUntil = Date.now() + lifetime(this.#token) * 0.8;
    }
    return this.#token;
  }

  async fetch(path, { query, headers, ...init } = {}) {
    const call = this.#options.fetch ?? fetch;
    const send = async (token) => {
      const authorization = token && { Authorization: `Bearer ${token}` };
      const request = { cache: 'no-store', ...init, headers: { ...authorization, ...headers } };
      const response = await call(this.url(path, query), request).catch((error) => {
        throw init.signal?.aborted ? error : this.unanswered(error);
      });
      this.answered = true;
      return response;
    };
    const token = await this.token();
    let response = await send(token);
    const fresh = response.status === 401 && token && (await this.token(token));
    if (fresh) response = await send(fresh);
    const { status } = response;
    if (response.ok || status === 304) return response;
    const { code, title, detail } = await response.json().catch(() => ({}));
    const message = detail ?? title ?? `The server answered ${status}.`;
    throw new Problem({ message, status, code, retryAfter: retryAfter(response) });
  }

  /**
   * Why nothing was answered. A browser does not let a page see that its origin is refused: it looks like a server that is not
   * there. But one that has answered before does not refuse it.
   */
  unanswered(error) {
    const { origin } = (inBrowser && globalThis.location) || {};
    if (error instanceof Problem || this.answered || !origin || origin === this.base.origin) return error;
    const message =
      `${this.base.host} cannot be reached, or does not let pages of ${origin} use it. ` +
      `If it runs, start it with "--allow-origin ${origin}".`;
    return new Problem({ message, code: BAD_ORIGIN, retry: true });
  }

  /** Sleeps for a time, or until `wake`. */
  async nap(ms, signal) {
    const nap = new AbortController();
    this.#naps.add(nap);
    await sleep(ms, AbortSignal.any([signal, nap.signal])).catch(() => signal.throwIfAborted());
    this.#naps.delete(nap);
  }

  /** There is reason to try now. */
  wake() {
    for (const nap of this.#naps) nap.abort();
  }

  /** One page of a channel, and in how many milliseconds the server wants to be asked again, if it says so. */
  async page(channel, query, { headers, ...init }) {
    const response = await this.fetch(`c/${channel}`, { ...init, query, headers: { Accept: 'application/json', ...headers } });
    const page = response.status === 304 ? { at: query.after, messages: [] } : await response.json();
    // The server ends a page by its bytes, too.
    const isFull = page.messages.length >= query.limit || response.headers.get('Content-Length') > LARGE_PAGE;
    return { ...page, isFull, retryAfter: retryAfter(response) };
  }

  /** Publishes, and gives the position. */
  async publish({ channel, data, event, key, signal }) {
    const isText = typeof data === 'string';
    const type = isBytes(data) ? 'application/octet-stream' : isText ? 'text/plain;charset=utf-8' : 'application/json';
    const body = isBytes(data) || isText ? data : JSON.stringify(data);
    const headers = { 'Content-Type': type, 'Idempotency-Key': key, ...(event && { 'Sockeye-Event': event }) };
    return (await (await this.fetch(`c/${channel}`, { method: 'POST', body, headers, signal })).json()).at;
  }
}

/** Does something up to `times` times, until it works or the server refuses. */
export async function severalTimes(times, attempt, signal) {
  for (let n = 0; ; n += 1) {
    try {
      return await attempt(n);
    } catch (error) {
      signal?.throwIfAborted();
      if (!isTransient(error) || n + 1 >= times) throw error;
      await sleep(pause(error, backoff(n)), signal);
    }
  }
}

/** Does something again and again until it works or the server refuses. `failed` is told when it fails and when it is next tried. */
export async function withRetries(http, attempt, signal, failed) {
  for (let n = 0; ; n += 1) {
    try {
      return await attempt();
    } catch (error) {
      signal.throwIfAborted();
      if (!isTransient(error)) throw error;
      const ms = error.code === BAD_ORIGIN ? rarely(n) : pause(error, backoff(n));
      failed(error, Date.now() + ms);
      await http.nap(ms, signal);
    }
  }
}

function pause({ retryAfter = 0 }, ms) {
  return Math.max(retryAfter, ms);
}

/** Whether it may work next time: the network failed, in whatever words the runtime has for it, or the server was not well. */
export function isTransient(error) {
  const { status, code, retry } = error;
  return !(error instanceof Problem) || (retry ?? (status ? status === 429 || status >= 500 : !code));
}

function retryAfter({ headers }) {
  return Math.min(Number(headers.get('Retry-After')) * 1000 || 0, LONGEST_RETRY_AFTER);
}

/** How many milliseconds a JSON Web Token has left, by this clock or, if that is wrong, by its own dates. */
function lifetime(token) {
  try {
    const { exp, iat } = JSON.parse(atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/')));
    const left = exp * 1000 - Date.now();
    return left > 0 || !iat ? (left || Infinity) : (exp - iat) * 1000;
  } catch {
    return Infinity;
  }
}
