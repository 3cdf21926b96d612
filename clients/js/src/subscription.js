/** One reader of one channel: calls back, and can be iterated over. Made by `Sockeye.subscribe`. */

import { Problem } from './http.js';
import { opened } from './message.js';
import { isPast, sameEpoch } from './position.js';

export class Subscription {
  /** The position of the last message it was given. */
  at = null;
  /** Whether it still fetches the history it was asked to begin with. */
  pending = false;
  /** Settles when it is known where it begins: whatever is published after that comes. */
  ready;
  #options;
  #owner;
  #after;
  /** What came while it was catching up. */
  #late = null;
  #closing = new AbortController();
  #iterators = new Set();
  /** What came before the first iteration: without callbacks that is what it is for. */
  #unread = null;
  #failure = null;
  #begun;
  #isWarned = false;

  constructor(channel, options, owner) {
    this.channel = channel;
    this.presence = Boolean(options.presence);
    this.#options = options;
    this.#owner = owner;
    this.#after = String(options.after || 'now');
    if (this.#after.includes('.')) this.at = this.#after;
    const { onmessage, onjoin, onleave } = options;
    if (!onmessage && !onjoin && !onleave) this.#unread = [];
    this.ready = new Promise((resolve, reject) => (this.#begun = { resolve, reject }));
    this.ready.catch(() => {});
  }

  async begin() {
    if (this.#after !== 'now' && !this.at) {
      this.pending = true;
      await this.#catchUp(null);
      this.pending = false;
    }
    if (this.at) this.#begun.resolve(this.at);
    if (!this.#closing.signal.aborted) this.#owner.changed();
  }

  close() {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#owner.closed();
    for (const iterator of this.#iterators) iterator.end();
  }

  /** Something from the connection: it stood at `prev`, and then came a message or a gap, or nothing yet. */
  take(event) {
    const { error, join, leave, prev } = event;
    if (error) this.#fail(new Problem(error));
    else if (join) this.#call('onjoin', join);
    else if (leave) this.#call('onleave', leave);
    else if (this.#late) this.#late.push(event);
    else {
      this.at ??= prev;
      this.#begun.resolve(this.at);
      if (prev !== this.at && isPast(prev, this.at)) this.#catchUp(prev, [event]);
      else this.#accept(event);
    }
  }

  // What is older than where it stands has been seen. A new epoch begins with a gap.
  #accept({ prev, message, gap, end }) {
    const follows = prev === this.at;
    if (gap && (follows || isPast(gap.next, this.at))) this.#skip(gap);
    if (message && (follows || (sameEpoch(message.at, this.at) && isPast(message.at, this.at)))) {
      this.at = message.at;
      this.#give(opened(this.channel, message));
    }
    if (end) this.#end(end);
  }

  // The channel has ended: so does the subscription, once everything before was given.
  #end(at) {
    if (this.#closing.signal.aborted) return;
    this.at = at;
    this.#begun.resolve(at);
    this.close();
    this.#call('onend', { channel: this.channel, at });
  }

  #skip(gap) {
    this.at = gap.next;
    this.#give({ gap: { channel: this.channel, ...gap } });
  }

  // Polls until it stands where the connection does, then continues with what that has brought meanwhile.
  async #catchUp(until, late = []) {
    this.#late = late;
    try {
      for (let more = true; more; ) {
        const page = await this.#owner.read(this.at ?? this.#after, this.#closing.signal);
        if (page.gap) this.#skip(page.gap);
        for (const message of page.messages) {
          this.at = message.at;
          this.#give(message);
        }
        this.at = page.at;
        if (page.end) this.#end(page.at);
        more = until && page.messages.length && isPast(until, this.at);
      }
    } catch (error) {
      this.#fail(error);
    }
    this.#late = null;
    for (const event of late) this.#accept(event);
  }

  /** Something may have to be repaired before anything comes; then it continues. */
  warn(problem) {
    if (this.#isWarned || this.#closing.signal.aborted) return;
    this.#isWarned = true;
    this.#call('onerror', new Problem(problem));
  }

  #fail(error) {
    if (this.#closing.signal.aborted) return;
    this.#failure = error;
    for (const iterator of this.#iterators) iterator.end(error);
    this.#begun.reject(error);
    this.close();
    this.#call('onerror', error);
  }

  #give(item) {
    if (this.#closing.signal.aborted) return;
    this.#unread?.push(item);
    for (const iterator of this.#iterators) iterator.give(item);
    if (item.gap) this.#call('ongap', item.gap);
    else this.#call('onmessage', item);
  }

  // An error of the application's callback is reported as its own, and stops nothing here.
  #call(name, value) {
    try {
      this.#options[name]?.(value);
    } catch (error) {
      setTimeout(() => {
        throw error;
      });
    }
  }

  /** Messages and gaps (`{ gap }`) in order, until it is closed. They wait in memory until they are iterated over. */
  [Symbol.asyncIterator]() {
    const waiting = this.#unread ?? [];
    this.#unread = null;
    let [wake, ended, failure] = [null, this.#closing.signal.aborted, this.#failure];
    this.#iterators.add({
      give: (item) => (waiting.push(item), wake?.()),
      end: (error) => ((ended = true), (failure ??= error), wake?.()),
    });
    const next = async () => {
      while (!waiting.length && !ended) await new Promise((resolve) => (wake = resolve));
      if (failure && !waiting.length) throw failure;
      return { done: !waiting.length, value: waiting.shift() };
    };
    return { next, return: async () => (this.close(), { done: true, value: undefined }) };
  }
}
