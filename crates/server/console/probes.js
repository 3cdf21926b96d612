/**
 * What the page `doctor` tries: each transport by itself, from this browser, on a channel that nothing else uses. Each probe
 * gives a finding: a verdict (`ok`, `warn`, `fail`, `skip`), a figure, and what to do.
 */

import { token } from './connection.js';
import { base, channelUrl } from './place.js';
import { words } from './words.js';

/** How long an answer, or a message, may take. */
const PATIENCE_MS = 5_000;
/** The longest wait that the server grants a long poll. */
const LONGEST_WAIT_S = 60;
/** Clocks that differ by more are wrong. */
const CLOCK_MS = 5_000;

/**
 * @typedef {{verdict: 'ok' | 'warn' | 'fail' | 'skip', figure: string, advice?: string, isUnsure?: boolean}} Finding
 * `isUnsure`: the page's own request got no connection, so that nothing is known of the transport
 */

const ok = (figure) => ({ verdict: 'ok', figure });
const warn = (figure, advice) => ({ verdict: 'warn', figure, advice });
const fail = (figure, advice) => ({ verdict: 'fail', figure, advice });
const skip = (figure, advice) => ({ verdict: 'skip', figure, advice });
const refused = (status) => fail(words.doctor.answered(status), status === 403 ? words.doctor.refused : undefined);
const unsure = () => ({ ...skip(words.doctor.noConnection, words.doctor.freeConnections), isUnsure: true });

/** A request beside the transport that is tried got no answer, which says nothing of that. */
const UNANSWERED = new Error('no answer');

/** One examination: the channel, and how long connections are left alone. */
export class Probes {
  #abort = new AbortController();
  #crowd;

  /**
   * @param {string} channel
   * @param {number} idle how many seconds connections are left alone; none are if it is zero
   * @param {{isTooLarge: boolean}} crowd the other tabs of this browser
   */
  constructor(channel, idle, crowd) {
    this.#crowd = crowd;
    // Each transport has a channel of its own: none hears what another one publishes.
    this.url = (name, scheme) => channelUrl(`${channel}-${name}`, scheme);
    this.idle = idle;
  }

  /** Ends all that is open. */
  stop() {
    this.#abort.abort();
  }

  get isStopped() {
    return this.#abort.signal.aborted;
  }

  /** A poll, and the server's clock beside this one's; with a `problem` if the server refused. */
  async poll() {
    const begun = performance.now();
    let response;
    try {
      response = await this.#ask('poll', { limit: 1 }, PATIENCE_MS);
    } catch {
      return { poll: this.#unanswered(fail(words.doctor.noAnswer, words.doctor.unreachable)) };
    }
    const took = performance.now() - begun;
    if (response.status === 401) return { poll: skip(words.doctor.asksForToken, words.doctor.giveToken), problem: await problemOf(response) };
    if (!response.ok) return { poll: refused(response.status) };
    return { poll: ok(words.doctor.after(took)), clock: clock(response, took) };
  }

  /** A long poll that a message answers, and one that none answers. */
  async longpoll() {
    let response;
    try {
      const { at } = await (await this.#ask('longpoll', { after: 'now' }, PATIENCE_MS)).json();
      const begun = performance.now();
      const answer = this.#ask('longpoll', { after: at, wait: 10 }, 10_000 + PATIENCE_MS);
      answer.catch(() => {});
      response = NaN;
      if (await this.#publish('longpoll')) {
        const page = await (await answer).json();
        if (!page.messages?.length) return fail(words.doctor.noMessage, words.doctor.proxyWaits);
        response = performance.now() - begun;
      }
    } catch (error) {
      return this.#ended(error === UNANSWERED ? this.#notAsked() : this.#unanswered(fail(words.doctor.noAnswer, words.doctor.proxyWaits)));
    }
    if (!this.idle) return ok(words.doctor.message(response));
    const wait = Math.min(this.idle, LONGEST_WAIT_S);
    const begun = performance.now();
    try {
      const { status } = await this.#ask('longpoll', { after: 'now', wait }, wait * 1000 + PATIENCE_MS);
      const held = performance.now() - begun;
      const isWhole = status === 200 && held > wait * 1000 - 500;
      return isWhole
        ? ok(words.doctor.held(response, held))
        : fail(words.doctor.notHeld(held, wait, status), words.doctor.proxyWaits);
    } catch {
      return this.#ended(this.#unanswered(fail(words.doctor.cut(performance.now() - begun), words.doctor.proxyWaits)));
    }
  }

  /** Server-Sent Events: the first byte, a message, and silence. @param {(finding: Finding) => void} tell the first finding */
  async sse(tell) {
    const { signal, abort } = this.#bounded();
    const begun = performance.now();
    try {
      const late = setTimeout(abort, PATIENCE_MS);
      const response = await fetch(this.url('sse'), { headers: headers('text/event-stream'), cache: 'no-store', signal });
      if (!response.ok) return tell(refused(response.status));
      const reader = response.body.getReader();
      await reader.read();
      clearTimeout(late);
      const first = performance.now() - begun;
      const delay = await this.#messageOver('sse', until(reader), abort);
      if (delay === null) return tell(fail(words.doctor.messageHeld(first), words.doctor.unbuffer));
      tell(ok(words.doctor.firstAndMessage(first, delay)));
      return await this.#silence((ended) => until(reader)('', ended), abort);
    } catch (error) {
      const heldBack = fail(words.doctor.heldBack(performance.now() - begun), words.doctor.unbuffer);
      if (!this.isStopped) tell(error === UNANSWERED ? this.#notAsked() : this.#unanswered(heldBack));
      return null;
    } finally {
      abort();
    }
  }

  /** A plain WebSocket: its opening, a message, and silence. @param {(finding: Finding) => void} tell the first finding */
  async websocket(tell) {
    const url = await this.#ticketed(this.url('websocket', 'ws')).catch(() => null);
    if (this.isStopped) return null;
    if (!url) return tell(this.#notAsked()), null;
    const begun = performance.now();
    const socket = new WebSocket(url);
    this.#abort.signal.addEventListener('abort', () => socket.close());
    const closed = new Promise((resolve) => (socket.onclose = resolve));
    try {
      if (!(await opens(socket, closed))) {
        if (!this.isStopped) tell(fail(words.doctor.notOpened(performance.now() - begun), words.doctor.blocked));
        return null;
      }
      const opened = performance.now() - begun;
      const messages = (text) => new Promise((resolve) => {
        socket.onmessage = ({ data }) => String(data).includes(text) && resolve(true);
        closed.then(() => resolve(false));
      });
      const delay = await this.#messageOver('websocket', messages, () => {});
      if (socket.readyState !== WebSocket.OPEN) {
        if (!this.isStopped) tell(fail(words.doctor.killed(performance.now() - begun - opened), words.doctor.blocked));
        return null;
      }
      if (delay === null) return tell(fail(words.doctor.noMessage, words.doctor.blocked)), null;
      tell(ok(words.doctor.openedAndMessage(opened, delay)));
      return await this.#silence(() => closed, () => socket.close());
    } catch (error) {
      if (error !== UNANSWERED) throw error;
      if (!this.isStopped) tell(this.#notAsked());
      return null;
    } finally {
      socket.close();
    }
  }

  /** `sockeye.v1`: what the browser client uses, if it can. */
  async v1() {
    const url = new URL('connect', base);
    url.protocol = url.protocol.replace('http', 'ws');
    const begun = performance.now();
    const socket = new WebSocket(url, token ? ['sockeye.v1', `bearer.${token}`] : ['sockeye.v1']);
    this.#abort.signal.addEventListener('abort', () => socket.close());
    const closed = new Promise((resolve) => (socket.onclose = resolve));
    const hello = new Promise((resolve) => (socket.onmessage = ({ data }) => resolve(String(data).includes('"hello"'))));
    const came = await soon(Promise.race([hello, closed.then(() => false)]));
    socket.close();
    if (this.isStopped) return null;
    return came ? ok(words.doctor.after(performance.now() - begun)) : fail(words.doctor.noHello, words.doctor.blocked);
  }

  /** Publishes, and waits for that message; how late it comes, or `null`. `NaN` if this person may not publish. */
  async #messageOver(name, arrives, giveUp) {
    const text = `doctor-${Math.random().toString(36).slice(2)}`;
    const begun = performance.now();
    const arrived = arrives(text).then((came) => came && performance.now() - begun);
    arrived.catch(() => {});
    if (!(await this.#publish(name, text))) return NaN;
    // Its patience begins when the message is there.
    const delay = await soon(arrived);
    if (delay === false) giveUp();
    return delay === false ? null : delay;
  }

  /** Leaves a connection alone until the bound or its end. */
  async #silence(ended, close) {
    if (!this.idle) return skip(words.doctor.notTried);
    const begun = performance.now();
    let timer;
    const bound = new Promise((resolve) => (timer = setTimeout(resolve, this.idle * 1000, 'alive')));
    const end = await Promise.race([bound, ended(true).then(() => 'ended', () => 'ended')]);
    clearTimeout(timer);
    if (this.isStopped) return null;
    close();
    const lived = performance.now() - begun;
    return end === 'alive' ? ok(words.doctor.alive(this.idle)) : fail(words.doctor.cut(lived), words.doctor.proxyWaits);
  }

  async #publish(name, text = 'doctor') {
    const all = { ...headers('application/json'), 'Content-Type': 'text/plain' };
    return (await this.#post(this.url(name), { headers: all, body: text })).ok;
  }

  /** A request that is answered at once, if it is answered. */
  async #post(url, request) {
    const { signal, abort } = this.#bounded();
    const late = setTimeout(abort, PATIENCE_MS);
    try {
      return await fetch(url, { method: 'POST', signal, ...request });
    } catch {
      throw UNANSWERED;
    } finally {
      clearTimeout(late);
    }
  }

  async #ask(name, query, within) {
    const url = this.url(name);
    url.search = new URLSearchParams(query);
    const { signal, abort } = this.#bounded();
    const timer = setTimeout(abort, within);
    try {
      const response = await fetch(url, { headers: headers('application/json'), cache: 'no-store', signal });
      // The body comes with the head: answers are complete.
      const body = await response.arrayBuffer();
      return new Response(status(response) ? body : null, response);
    } finally {
      clearTimeout(timer);
    }
  }

  /** A signal that ends one request, or all. */
  #bounded() {
    const own = new AbortController();
    this.#abort.signal.addEventListener('abort', () => own.abort());
    return { signal: own.signal, abort: () => own.abort() };
  }

  // A browser's WebSocket can't send headers: a ticket, good for once, stands in for the token.
  async #ticketed(url) {
    if (!token) return url;
    const response = await this.#post(new URL('tickets', base), { headers: { Authorization: `Bearer ${token}` } });
    const { ticket } = await response.json();
    const ticketed = new URL(url);
    ticketed.search = new URLSearchParams({ ticket });
    return ticketed;
  }

  #ended(finding) {
    return this.isStopped ? null : finding;
  }

  /** What is found where the request beside a transport got no answer. */
  #notAsked() {
    return this.#unanswered(fail(words.doctor.noAnswer, words.doctor.unreachable));
  }

  /** What is found where a request got no answer: it may not have left the browser. */
  #unanswered(finding) {
    return this.#crowd.isTooLarge ? unsure() : finding;
  }
}

function headers(accept) {
  return { Accept: accept, ...(token && { Authorization: `Bearer ${token}` }) };
}

/** What the server says of a request that it refuses. */
async function problemOf(response) {
  const { code, detail } = await response.json().catch(() => ({}));
  return { code, message: detail ?? `${response.status}` };
}

function status({ status: code }) {
  return code !== 204 && code !== 304;
}

/** The difference between the server's clock and this machine's. */
function clock(response, took) {
  const date = Date.parse(response.headers.get('Date') ?? '');
  if (Number.isNaN(date)) return skip(words.doctor.noDate);
  const now = Date.now();
  const [ahead, behind] = [date - now, now - took - (date + 1000)];
  const difference = Math.max(ahead, behind, 0);
  return difference <= CLOCK_MS ? ok(words.doctor.clockAgrees) : warn(words.doctor.clock(difference, ahead > behind), words.doctor.setClock);
}

/** Reads on until a text has come, or with `toEnd` until the end. */
function until(reader) {
  const decoder = new TextDecoder();
  return async (text, toEnd = false) => {
    for (let seen = ''; ; ) {
      const { done, value } = await reader.read();
      if (done) return false;
      if (toEnd) continue;
      seen = (seen + decoder.decode(value, { stream: true })).slice(-4096);
      if (seen.includes(text)) return true;
    }
  };
}

/** Whether a socket opens in time. */
function opens(socket, closed) {
  const opened = new Promise((resolve) => (socket.onopen = () => resolve(true)));
  return soon(Promise.race([opened, closed.then(() => false)]));
}

/** What comes in time; else `false`. */
function soon(promise) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, PATIENCE_MS, false);
    promise.then(resolve, () => resolve(false)).finally(() => clearTimeout(timer));
  });
}
