/** Where each channel was read to, and one connection that reads on; another when it breaks. */

import { BAD_ORIGIN } from './http.js';
import { isPast } from './position.js';
import { HeldRun, PollRun, StreamRun } from './requests.js';
import { SocketRun } from './socket.js';
import { backoff, rarely } from './time.js';

/** The transports, best first. */
const TRANSPORTS = { websocket: SocketRun, sse: StreamRun, longpoll: HeldRun, poll: PollRun };
/** A connection that is cut so soon after it first delivered shows that its transport does not work here. */
const FLAPPING = 5_000;
/** How long a connection lives until the failures before it are forgotten. */
const STABLE = 60_000;
/** How long a transport that failed is left alone: at first, if it has worked before, at most. */
const AGAIN_AFTER = { first: 60_000, known: 3_000, most: 900_000 };
/** How long a connection that nobody needs is kept, in case somebody does. */
const LINGER = 2_000;

const IDLE = { state: 'idle', transport: null, retryAt: 0, error: null };

export class Line {
  #http;
  #tell;
  #ways;
  /** @type {Map<string, { name: string, at: string | null, presence: boolean }>} */
  #channels = new Map();
  /** The connection. @type {Run | null} */
  #run = null;
  /** One that is tried beside it, because it may be better. @type {Run | null} */
  #climber = null;
  #climbTimer = 0;
  #failures = 0;
  #keeping = false;
  #closing = new AbortController();
  #wake = () => {};
  #status = IDLE;

  constructor(http, { transports = Object.keys(TRANSPORTS), pollInterval = 5_000 }, tell) {
    this.#http = http;
    this.#tell = tell;
    this.pollInterval = pollInterval;
    this.#ways = transports
      .filter((name) => name !== 'websocket' || globalThis.WebSocket)
      .map((name, rank) => ({ name, rank, blocked: 0, penalty: AGAIN_AFTER.first }));
    const { signal } = this.#closing;
    globalThis.addEventListener?.('online', () => this.wake(), { signal });
    globalThis.addEventListener?.('offline', () => this.#run?.probe(), { signal });
    globalThis.document?.addEventListener('visibilitychange', () => document.hidden || this.wake(), { signal });
  }

  get channels() {
    return [...this.#channels.values()];
  }

  /** Somebody reads this channel, and stands at `at`. Tells where the line stands. */
  want(name, at, presence) {
    const known = this.#channels.get(name);
    const channel = known ?? { name, at, presence };
    if (!known || (presence && !known.presence)) {
      channel.presence = presence;
      this.#channels.set(name, channel);
      for (const run of new Set([this.#run, this.#climber])) {
        if (known) run?.shut(name);
        run?.open(channel);
      }
      this.#keep();
    }
    if (channel.at) this.#tell({ channel: name, prev: channel.at });
    this.#say();
  }

  /** Nobody reads other channels than these any more. */
  keepOnly(names) {
    for (const name of this.#channels.keys()) if (!names.has(name)) this.#drop(name);
  }

  #drop(name) {
    this.#channels.delete(name);
    this.#run?.shut(name);
    if (!this.#channels.size) setTimeout(() => this.#channels.size || this.#run?.end(), LINGER);
  }

  /** Publishes over the WebSocket; undefined if there is none. */
  publish(publication) {
    return this.#run?.since ? this.#run.publish?.(publication) : undefined;
  }

  /** There is reason to try now: another network, the end of a sleep, or somebody who says so. */
  wake() {
    for (const way of this.#ways) way.blocked = 0;
    this.#http.wake();
    this.#wake();
    if (!this.#run?.since) return;
    this.#run.probe();
    this.#climbLater();
  }

  close() {
    this.#closing.abort();
    clearTimeout(this.#climbTimer);
    this.#run?.end();
    this.#climber?.end();
    this.#wake();
  }

  /** The server said where a channel begins that is read from now on. */
  stands(channel, at) {
    if (channel.at) return;
    channel.at = at;
    this.#tell({ channel: channel.name, prev: at });
  }

  /** Something came of a channel. For a moment two connections may bring it; what has come counts once. */
  took(name, item) {
    const channel = this.#channels.get(name);
    if (!channel) return;
    const { join, leave, gap } = item;
    if (join || leave) return this.#tell({ channel: name, join, leave });
    const [prev, at] = [channel.at, gap ? gap.next : item.at];
    // A frame of another kind, such as the members after more changes than could be told.
    if (!at) return;
    if (prev && !isPast(at, prev) && gap?.after !== prev) return;
    channel.at = at;
    this.#tell({ channel: name, prev: prev ?? at, ...(gap ? { gap } : { message: item }) });
  }

  tookPage(name, { at, gap, messages }) {
    if (gap) this.took(name, { gap });
    for (const message of messages) this.took(name, message);
    const channel = this.#channels.get(name);
    if (channel) this.stands(channel, at);
  }

  /** The server does not give this channel to us. */
  refused(name, error) {
    this.#tell({ channel: name, error: plain(error) });
    this.#drop(name);
  }

  /** A connection has delivered: it is the one from now on. */
  works(run) {
    const before = this.#run;
    this.#run = run;
    if (before !== run) before?.end();
    this.#say({ ...IDLE, state: 'live', transport: run.way.name });
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
      if (!this.#run) {
        this.#say({ ...this.#status, state: 'connecting', transport: null });
        this.#run = this.#start(this.#best() ?? this.#ways[0]);
      }
      const run = this.#run;
      const reason = await run.ended;
      // Another may have taken its place meanwhile.
      if (this.#run !== run) continue;
      this.#run = null;
      if (reason && this.#channels.size) await this.#judge(run, reason);
    }
    this.#keeping = false;
    if (!this.#closing.signal.aborted) this.#say(IDLE);
  }

  #start(way) {
    const run = new TRANSPORTS[way.name](this, this.#http, way);
    try {
      run.start();
    } catch (error) {
      run.end(error);
    }
    return run;
  }

  #best() {
    return this.#ways.find((way) => way.blocked <= Date.now());
  }

  /** A connection ended. Was it its transport? And how long to wait now? */
  async #judge({ way, since, bye, retryMs }, error) {
    const { status, code, retryAfter = 0 } = error;
    const lived = since && Date.now() - since;
    if (lived >= STABLE) this.#failures = 0;
    if (lived >= FLAPPING) way.penalty = AGAIN_AFTER.known;
    else if (!bye && !retryAfter && status !== 401) {
      this.#block(way);
      if (this.#best() && !this.#failures && code !== BAD_ORIGIN) return;
    }
    // None works, so it is not the transports; it may be the network, or the server.
    if (!this.#best()) for (const each of this.#ways) each.blocked = 0;
    const reason = this.#http.unanswered(error);
    const pause = reason.code === BAD_ORIGIN ? rarely : backoff;
    await this.#wait(Math.max(retryMs, retryAfter, pause(this.#failures++)), reason);
  }

  #block(way) {
    way.blocked = Date.now() + way.penalty * (0.5 + Math.random() / 2);
    way.penalty = Math.min(way.penalty * 2, AGAIN_AFTER.most);
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
    const better = this.#ways.slice(0, this.#run.way.rank).map((way) => way.blocked);
    if (!better.length || this.#climber) return;
    this.#climbTimer = setTimeout(() => this.#climb(), Math.max(0, Math.min(...better) - Date.now()));
  }

  async #climb() {
    const way = this.#best();
    if (!this.#run?.since || !way || way.rank >= this.#run.way.rank) return;
    const climber = (this.#climber = this.#start(way));
    await Promise.race([climber.ended, climber.delivered]);
    this.#climber = null;
    if (!climber.since && !this.#closing.signal.aborted) this.#block(way);
    if (this.#run?.since) this.#climbLater();
  }
}

/** An error as something that can be sent to another tab. */
export function plain({ message, code, status }) {
  return { message, code, status };
}
