/**
 * Sockeye in pages, in their workers, and in Node, Bun and Deno: channels to read and to write, over whatever gets through.
 *
 *     const sockeye = new Sockeye('https://example.org/');
 *     sockeye.subscribe('chat', { after: '-50', onmessage: ({ data }) => console.log(data) });
 *     await sockeye.publish('chat', { text: 'hello' });
 *
 * A channel is a log, and a position in it means the same on every transport. Everything rests on that. A
 * `Connection` is a position in each channel and one `Attempt` that moves it on; when the attempt ends, the next one, of
 * whatever transport, continues from there. A `Subscription` is a position, too. With each message the connection tells
 * where it stood before, so a subscription that began late, or is in another tab and missed something, sees that and polls
 * for the rest.
 */

import { Connection, plain } from './connection.js';
import { home } from './home.js';
import { BAD_ORIGIN, Http, withRetries, severalTimes } from './http.js';
import { opened, randomKey } from './message.js';
import { inBrowser } from './runtime.js';
import { Subscription } from './subscription.js';
import { transportsNamed } from './transports.js';

const PUBLISH_ATTEMPTS = 6;
const WHERE = "Say where the server is: new Sockeye('https://example.org/').";

function serverUrl(text) {
  let url;
  try {
    url = new URL(text, globalThis.location?.href);
  } catch {
    throw new TypeError(`${WHERE} '${text}' is not a URL.`);
  }
  if (/\/c\/[^/]+$/.test(url.pathname)) throw new TypeError(`${WHERE} ${url} is a channel: its name is for subscribe and publish.`);
  return url;
}

/** A server, and the channels on it that this page uses. `sockeye.d.ts` has the options. */
export class Sockeye extends EventTarget {
  state = 'idle';
  transport = null;
  retryAt = 0;
  error = null;
  #options;
  #http;
  #subscriptions = new Set();
  /** The connection, if it is this tab that has it. @type {Connection | null} */
  #connection = null;
  #tab = randomKey();
  /** What each tab reads: known to the tab with the connection. */
  #wanted = new Map();
  /** The other tabs. @type {BroadcastChannel | null} */
  #others = null;
  /** Whether `state` tells of a history that cannot be had yet. */
  #isStuck = false;
  #closing = new AbortController();

  constructor(url = home, options = {}) {
    super();
    if (!url) throw new TypeError(`${WHERE} This module does not come from one.`);
    const { WebSocket = globalThis.WebSocket } = options;
    const transports = transportsNamed(options.transports, WebSocket);
    this.#options = { share: inBrowser && !options.token, ...options, transports, WebSocket };
    this.#http = new Http(serverUrl(url), this.#options);
    const { share } = this.#options;
    if (share && globalThis.navigator?.locks && globalThis.BroadcastChannel) this.#join(`sockeye ${this.#http.base} ${share}`);
    else this.#lead();
  }

  /** Reads a channel, from now on if `after` does not say otherwise. */
  subscribe(channel, options = {}) {
    if (channel.includes(',')) throw new TypeError(`'${channel}' are several channels: subscribe to each.`);
    const subscription = new Subscription(channel, options, {
      read: (after, signal) => {
        const failed = (error, retryAt) => this.#stuck({ state: 'waiting', transport: null, retryAt, error: plain(error) });
        return withRetries(this.#http, () => this.read(channel, { after, signal }), signal, failed);
      },
      changed: () => this.#ask(),
      closed: () => this.#subscriptions.delete(subscription) && this.#ask(),
    });
    this.#subscriptions.add(subscription);
    subscription.begin();
    queueMicrotask(() => this.#warn());
    return subscription;
  }

  /** Publishes text, bytes or JSON, and gives its position once the server has it. A retry is not a repeat. */
  async publish(channel, data, { key = randomKey(), event, signal } = {}) {
    const publication = { channel, data, event, key, signal };
    const attempt = (n) => (n === 0 && this.#connection?.publish(publication)) || this.#http.publish(publication);
    return severalTimes(PUBLISH_ATTEMPTS, attempt, signal);
  }

  /** One page of a channel's history: `{ at, messages, gap? }`. */
  async read(channel, { after, limit = 1000, signal } = {}) {
    const { messages, ...page } = await this.#http.page(channel, { after, limit }, { signal });
    return { ...page, messages: messages.map((message) => opened(channel, message)) };
  }

  /** The members present: `{ count, members, next? }`, in pages; the next page is `after: next`. */
  async presence(channel, { after, limit = 1000, signal } = {}) {
    return (await this.#http.fetch(`c/${channel}/presence`, { query: { after, limit }, signal })).json();
  }

  /** Connects now, if it was waiting to. */
  retry() {
    this.#http.wake();
    if (this.#connection) this.#connection.wake();
    else this.#others?.postMessage({ wake: true });
  }

  /** Ends all subscriptions and the connection. */
  close() {
    for (const subscription of [...this.#subscriptions]) subscription.close();
    this.#closing.abort();
    this.#connection?.close();
    this.#others?.close();
    this.#take({ state: 'closed', transport: null });
  }

  // One tab holds the lock, and with it the connection; when it goes, both pass to the next.
  #join(name) {
    const { signal } = this.#closing;
    const untilClosed = () => new Promise((done) => signal.addEventListener('abort', done));
    const hold = (lock, held) => navigator.locks.request(lock, { signal }, held).catch(() => {});
    this.#others = new BroadcastChannel(name);
    this.#others.onmessage = ({ data }) => {
      if (data.lead) this.#ask();
      else if (data.wake) this.#connection?.wake();
      else if (!data.tab) this.#take(data);
      else if (this.#connection) {
        // Every tab holds a lock of its own: once it is granted to another, the tab has been closed.
        if (!this.#wanted.has(data.tab)) hold(`${name} ${data.tab}`, () => this.#want({ tab: data.tab }));
        this.#want(data);
      }
    };
    hold(`${name} ${this.#tab}`, untilClosed);
    hold(name, () => (this.#lead(), untilClosed()));
  }

  #lead() {
    this.#connection = new Connection(this.#http, this.#options, (event) => {
      this.#others?.postMessage(event);
      this.#take(event);
    });
    this.#others?.postMessage({ lead: true });
    this.#ask();
  }

  /** Tells the tab with the connection, this or another, what this tab reads. */
  #ask() {
    const channels = {};
    for (const { channel, at, pending, presence } of this.#subscriptions) {
      const { at: before, presence: wished } = channels[channel] ?? {};
      if (!pending) channels[channel] = { at: before ?? at, presence: wished || presence };
    }
    const request = { tab: this.#tab, channels };
    if (this.#connection) this.#want(request);
    else this.#others?.postMessage(request);
  }

  #want({ tab, channels = {} }) {
    this.#wanted.set(tab, channels);
    for (const [name, { at, presence }] of Object.entries(channels)) this.#connection.want(name, at, presence);
    this.#connection.keepOnly(new Set([...this.#wanted.values()].flatMap(Object.keys)));
  }

  // What the connection tells: its state, or something of a channel.
  #take({ channel, ...event }) {
    if (channel) {
      for (const each of [...this.#subscriptions]) if (each.channel === channel) each.take(event);
    } else if (event.state !== this.state || event.transport !== this.transport || event.retryAt !== this.retryAt) {
      this.#isStuck = false;
      Object.assign(this, event);
      this.dispatchEvent(new Event('state'));
      this.#warn();
    }
  }

  /** A history cannot be read yet, and nothing else is: that is the state then. */
  #stuck(status) {
    if (this.state !== 'idle' && !this.#isStuck) return;
    this.#take(status);
    this.#isStuck = true;
  }

  /** What only the server's operator can repair is an error, though it is tried again. */
  #warn() {
    if (this.error?.code !== BAD_ORIGIN) return;
    for (const each of [...this.#subscriptions]) each.warn(this.error);
  }
}
