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
  #subscribed = new Set();
  #lastId = 0;
  #pingAfter = 25_000;
  #idle = 0;

  start() {
    const url = this.http.url('connect');
    url.protocol = url.protocol.replace('http', 'ws');
    const socket = (this.#socket = new this.connection.WebSocket(url, ['sockeye.v1']));
    const deadline = setTimeout(() => this.end(new Error('The WebSocket does not open.')), HELLO_WITHIN);
    this.delivered.then(() => clearTimeout(deadline));
    socket.onclose = ({ code }) => this.end(new Error(`The WebSocket was closed (${code}).`));
    // The close says the same; but an error without a listener is thrown by `ws` for Node.
    socket.onerror = () => {};
    socket.onmessage = ({ data }) => {
      try {
        this.#heard(JSON.parse(data));
      } catch {
        this.end(new Error('The WebSocket brought something else than messages.'));
      }
    };
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
    } else if (message.ch) this.#took(message.ch, message);
    else this.#answered(message);
  }

  // What comes between `unsub` and the answer to another `sub` is of the subscription before.
  #took(name, message) {
    if (!this.#subscribed.has(name)) return;
    const error = message.err && new Problem(message.err);
    if (!error) this.connection.took(name, message);
    else if (isTransient(error)) this.end(error);
    else this.connection.refused(name, error);
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

  /** Sends a command. `answered` is called before the next frame is looked at, which awaiting the answer does not promise. */
  #ask(command, { ms = ANSWER_WITHIN, answered } = {}) {
    const id = ++this.#lastId;
    const answer = new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve: (ok) => (answered?.(ok), resolve(ok)), reject });
    });
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

  async open(channel) {
    if (!this.since || this.signal.aborted) return;
    const { name, at, presence } = channel;
    try {
      const answered = ({ missed, at }) => {
        if (!this.connection.channels.includes(channel)) return;
        this.#subscribed.add(name);
        if (!missed) this.connection.stands(channel, at);
      };
      await this.#ask({ op: 'sub', ch: name, ...(at && { after: at }), ...(presence && { presence }) }, { answered });
    } catch (error) {
      if (isTransient(error)) this.end(error);
      else this.connection.refused(name, error);
    }
  }

  shut(name) {
    this.#subscribed.delete(name);
    if (this.since && !this.signal.aborted) this.#ask({ op: 'unsub', ch: name }).catch(() => {});
  }

  async publish({ channel, data, event, key }) {
    const payload = isBytes(data) ? { b64: toBase64(data) } : { data };
    return (await this.#ask({ op: 'pub', ch: channel, ...payload, event, key })).at;
  }

  // No answer, no connection: a socket whose other end is gone may look open for many minutes.
  probe() {
    if (this.since) this.#ask({ op: 'ping' }, { ms: PONG_WITHIN }).catch((error) => this.end(error));
  }
}
