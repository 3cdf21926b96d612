/** One WebSocket for all channels: `sockeye.v1` on `/connect`. */

import { Attempt } from './attempt.js';
import { Problem, isTransient } from './http.js';
import { isBytes, toBase64 } from './message.js';
import { ANSWER_WITHIN, within } from './timers.js';

/** The server speaks first; a socket on which nothing has come by then does not work. */
const HELLO_WITHIN = 5_000;
const PONG_WITHIN = 5_000;

export class SocketAttempt extends Attempt {
  #socket;
  #asked = new Map();
  #lastId = 0;
  #pingAfter = 25_000;
  #idle = 0;

  start() {
    const url = this.http.url('connect');
    url.protocol = url.protocol.replace('http', 'ws');
    const socket = (this.#socket = new WebSocket(url, ['sockeye.v1']));
    const deadline = setTimeout(() => this.end(new Error('The WebSocket does not open.')), HELLO_WITHIN);
    this.delivered.then(() => clearTimeout(deadline));
    socket.onclose = ({ code }) => this.end(new Error(`The WebSocket was closed (${code}).`));
    socket.onmessage = ({ data }) => this.#heard(JSON.parse(data));
    this.signal.addEventListener('abort', () => {
      clearTimeout(deadline);
      clearTimeout(this.#idle);
      // A dead socket may take minutes to say that it closed, so it is let go of, not waited for.
      socket.onclose = socket.onmessage = null;
      socket.close();
      for (const { reject } of this.#asked.values()) reject(new Error('The connection was lost.'));
    });
  }

  #heard(message) {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.probe(), this.#pingAfter);
    if (message.hello) this.#welcome(message.hello);
    else if (message.bye) {
      this.bye = true;
      this.retryMs = message.bye.retry_ms;
      this.end(new Error(`The server ended the connection: ${message.bye.why}.`));
    } else if (message.ch) this.connection.took(message.ch, message);
    else this.#answered(message);
  }

  async #welcome({ ping }) {
    if (ping) this.#pingAfter = ping * 1000;
    try {
      await this.refresh();
      this.works();
      for (const channel of this.connection.channels) this.open(channel);
    } catch (error) {
      if (error.status === 401) for (const { name } of this.connection.channels) this.connection.refused(name, error);
      this.end(error);
    }
  }

  #answered({ id, ok, err }) {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    if (err) asked?.reject(new Problem({ ...err, ...(err.code === 'unauthorized' && { status: 401 }) }));
    else asked?.resolve(ok);
  }

  #ask(command, ms = ANSWER_WITHIN) {
    const id = ++this.#lastId;
    const answer = new Promise((resolve, reject) => this.#asked.set(id, { resolve, reject }));
    this.#socket.send(JSON.stringify({ id, ...command }));
    return within(ms, answer);
  }

  /** Sends the token; a fresh one, if that is refused. */
  async refresh() {
    const token = await this.http.token();
    if (!token) return;
    const show = (token) => this.#ask({ op: 'auth', token });
    await show(token).catch(async (error) => {
      const fresh = error.status === 401 && (await this.http.token(token));
      if (!fresh) throw error;
      await show(fresh);
    });
    if (this.since) this.refreshLater();
  }

  // An answer and the message after it are two tasks: where the channel stands is known before the message comes.
  async open(channel) {
    if (!this.since || this.signal.aborted) return;
    const { name, at, presence } = channel;
    try {
      const sub = await this.#ask({ op: 'sub', ch: name, ...(at && { after: at }), ...(presence && { presence }) });
      if (!sub.missed) this.connection.stands(channel, sub.at);
    } catch (error) {
      if (isTransient(error)) this.end(error);
      else this.connection.refused(name, error);
    }
  }

  shut(name) {
    if (this.since && !this.signal.aborted) this.#ask({ op: 'unsub', ch: name }).catch(() => {});
  }

  async publish({ channel, data, event, key }) {
    const payload = isBytes(data) ? { b64: toBase64(data) } : { data };
    return (await this.#ask({ op: 'pub', ch: channel, ...payload, event, key })).at;
  }

  // No answer, no connection: a socket whose other end is gone may look open for many minutes.
  probe() {
    if (this.since) this.#ask({ op: 'ping' }, PONG_WITHIN).catch((error) => this.end(error));
  }
}
