/** Where each channel was read to, and one attempt that reads on; another when it ends. */

import { backoff, rarely } from './backoff.js';
import { BAD_ORIGIN } from './http.js';
import { isPast } from './position.js';
import { LongPollAttempt, PollAttempt, StreamAttempt } from './requests.js';
import { SocketAttempt } from './socket.js';

const ATTEMPTS = { v1: SocketAttempt, sse: StreamAttempt, longpoll: LongPollAttempt, poll: PollAttempt };
/** An attempt that is cut this soon after it first delivered shows that its transport does not work here. */
const FLAPPING = 5_000;
/** How long an attempt lasts until the failures before it are forgotten. */
const STABLE = 60_000;
/** How long a transport that failed is left alone: at first, if it has worked before, at most. */
const AGAIN_AFTER = { first: 60_000, known: 3_000, most: 900_000 };
/** How long an attempt without channels is kept, in case one is subscribed to. */
const LINGER = 2_000;

const IDLE = { state: 'idle', transport: null, retryAt: 0, error: null };

export class Connection {
  #http;
  #tell;
  /** The transports that may be used, best first. */
  #transports;
  /** @type {Map<string, { name: string, at: string | null, presence: boolean }>} */
  #channels = new Map();
  /** @type {Attempt | null} */
  #attempt = null;
  /** One that is tried beside it, because it may be better. @type {Attempt | null} */
  #climber = null;
  #climbTimer = 0;
  #lingerTimer = 0;
  #failures = 0;
  #keeping = false;
  #closing = new AbortController();
  #wake = () => {};
  #status = IDLE;

  constructor(http, { transports, pollInterval = 5_000, WebSocket }, tell) {
    Object.assign(this, { pollInterval, WebSocket });
    this.#http = http;
    this.#tell = tell;
    this.#transports = transports.map((name, rank) => ({ name, rank, blocked: 0, penalty: AGAIN_AFTER.first }));
    const { signal } = this.#closing;
    globalThis.addEventListener?.('online', () => this.wake(), { signal });
    globalThis.addEventListener?.('offline', () => this.#attempt?.probe(), { signal });
    globalThis.document?.addEventListener('visibilitychange', () => document.hidden || this.wake(), { signal });
  }

  get channels() {
    return [...this.#channels.values()];
  }

  /** This channel is read from `at` on. Tells where the connection stands. */
  want(name, at, presence) {
    const known = this.#channels.get(name);
    const channel = known ?? { name, at, presence };
    if (!known || (presence && !known.presence)) {
      channel.presence = presence;
      this.#channels.set(name, channel);
      for (const attempt of new Set([this.#attempt, this.#climber])) {
        if (known) attempt?.shut(name);
        attempt?.open(channel);
      }
      this.#keep();
    }
    if (channel.at) this.#tell({ channel: name, prev: channel.at });
    this.#say();
  }

  /** No other channels than these are read any more. */
  keepOnly(names) {
    for (const name of this.#channels.keys()) if (!names.has(name)) this.#drop(name);
  }

  #drop(name) {
    this.#channels.delete(name);
    this.#attempt?.shut(name);
    this.#climber?.shut(name);
    if (this.#channels.size) return;
    clearTimeout(this.#lingerTimer);
    this.#lingerTimer = setTimeout(() => this.#channels.size || this.#attempt?.end(), LINGER);
  }

  /** Publishes over the WebSocket; undefined if there is none. */
  publish(publication) {
    return this.#attempt?.since ? this.#attempt.publish?.(publication) : undefined;
  }

  /** There is reason to try now: another network, the end of a sleep, or a call of `retry`. */
  wake() {
    for (const transport of this.#transports) transport.blocked = 0;
    this.#http.wake();
    this.#wake();
    if (!this.#attempt?.since) return;
    this.#attempt.probe();
    this.#climbLater();
  }

  close() {
    this.#closing.abort();
    clearTimeout(this.#climbTimer);
    clearTimeout(this.#lingerTimer);
    this.#attempt?.end();
    this.#climber?.end();
    this.#wake();
  }

  /** The server said where a channel begins that is read from now on. */
  stands(channel, at) {
    if (channel.at) return;
    channel.at = at;
    this.#tell({ channel: channel.name, prev: at });
  }

  /** Something came of a channel. For a moment two attempts may bring it; what has come counts once. */
  took(name, item) {
    const channel = this.#channels.get(name);
    if (!channel) return;
    const { join, leave, gap, end } = item;
    if (join || leave) return this.#tell({ channel: name, join, leave });
    const [prev, at] = [channel.at, gap ? gap.next : item.at];
    // A frame of another kind, such as the members after more changes than could be told.
    if (!at) return;
    if (prev && !end && !isPast(at, prev) && gap?.after !== prev) return;
    channel.at = at;
    this.#tell({ channel: name, prev: prev ?? at, ...(gap ? { gap } : end ? { end: at } : { message: item }) });
    // Nothing follows: it is not read again, on whatever transport.
    if (end) this.#drop(name);
  }

  tookPage(name, { at, gap, messages, end }) {
    if (gap) this.took(name, { gap });
    for (const message of messages) this.took(name, message);
    const channel = this.#channels.get(name);
    if (channel) this.stands(channel, at);
    if (end) this.took(name, { at, end });
  }

  /** The server refuses this channel. */
  refused(name, error) {
    this.#tell({ channel: name, error: plain(error) });
    this.#drop(name);
  }

  /** An attempt has delivered: it is the one from now on. */
  works(attempt) {
    const before = this.#attempt;
    this.#attempt = attempt;
    if (before !== attempt) before?.end();
    this.#say({ ...IDLE, state: 'live', transport: attempt.transport.name });
    this.#climbLater();
  }

  #say(status) {
    if (status) this.#status = status;
    this.#tell(this.#status);
  }

  async #keep() {
    if (this.#keeping) return;
    this.#keeping = true;
    while (this.#channels.size && !this.#closing.signal.aborted) {
      if (!this.#attempt) {
        this.#say({ ...this.#status, state: 'connecting', transport: null });
        this.#attempt = this.#start(this.#best() ?? this.#transports[0]);
      }
      const attempt = this.#attempt;
      const reason = await attempt.ended;
      // Another may have taken its place meanwhile.
      if (this.#attempt !== attempt) continue;
      this.#attempt = null;
      if (reason && this.#channels.size) await this.#judge(attempt, reason);
    }
    this.#keeping = false;
    if (!this.#closing.signal.aborted) this.#say(IDLE);
  }

  #start(transport) {
    const attempt = new ATTEMPTS[transport.name](this, this.#http, transport);
    try {
      attempt.start();
    } catch (error) {
      attempt.end(error);
    }
    return attempt;
  }

  #best() {
    return this.#transports.find((transport) => transport.blocked <= Date.now());
  }

  /** An attempt ended. Was it its transport? And how long to wait now? */
  async #judge({ transport, since, bye, retryMs }, error) {
    const { status, code, retryAfter = 0 } = error;
    const lived = since && Date.now() - since;
    if (lived >= STABLE) this.#failures = 0;
    if (lived >= FLAPPING) transport.penalty = AGAIN_AFTER.known;
    // A 401 without a word of the server's is of something in between, and says nothing of the token.
    else if (!bye && !retryAfter && !(status === 401 && code)) {
      this.#block(transport);
      if (this.#best() && !this.#failures && code !== BAD_ORIGIN) return;
    }
    // None works, so it is not the transports; it may be the network, or the server.
    if (!this.#best()) for (const each of this.#transports) each.blocked = 0;
    const reason = this.#http.unanswered(error);
    const pause = reason.code === BAD_ORIGIN ? rarely : backoff;
    await this.#wait(Math.max(retryMs, retryAfter, pause(this.#failures++)), reason);
  }

  #block(transport) {
    transport.blocked = Date.now() + transport.penalty * (0.5 + Math.random() / 2);
    transport.penalty = Math.min(transport.penalty * 2, AGAIN_AFTER.most);
  }

  async #wait(delay, error) {
    this.#say({ state: 'waiting', transport: null, retryAt: Date.now() + delay, error: plain(error) });
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, delay);
      this.#wake = () => (clearTimeout(timer), resolve());
    });
  }

  // While a lesser transport works, a better one is tried beside it, and takes its place once it has delivered.
  #climbLater() {
    clearTimeout(this.#climbTimer);
    const better = this.#transports.slice(0, this.#attempt.transport.rank).map((transport) => transport.blocked);
    if (!better.length || this.#climber) return;
    this.#climbTimer = setTimeout(() => this.#climb(), Math.max(0, Math.min(...better) - Date.now()));
  }

  async #climb() {
    const transport = this.#best();
    if (!this.#attempt?.since || !transport || transport.rank >= this.#attempt.transport.rank) return;
    const climber = (this.#climber = this.#start(transport));
    await Promise.race([climber.ended, climber.delivered]);
    this.#climber = null;
    if (!climber.since && !this.#closing.signal.aborted) this.#block(transport);
    if (this.#attempt?.since) this.#climbLater();
  }
}

/** An error as something that can be sent to another tab. */
export function plain({ message, code, status }) {
  return { message, code, status };
}
