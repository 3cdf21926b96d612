/**
 * What was written here and has not come back yet. A message that comes back in its channel is published. Until then it
 * waits for a connection, is on its way, or was refused. It may be sent several times: its key makes that one message.
 */

import { sockeye } from './connection.js';
import { element } from './log.js';
import { say, words } from './words.js';

/** @typedef {{raw: string, key: string, state: 'queued' | 'sent' | 'failed', node: HTMLElement}} Item */

const AGAIN_AFTER_MS = 5_000;

export class Outbox {
  /** The messages, each with its state, to be put below the log. */
  node = element('div', 'outbox');
  /** @type {Item[]} */
  #items = [];
  #channel;

  /** @param {string} channel where the messages go */
  constructor(channel) {
    this.#channel = channel;
  }

  /** Sends a message now, or as soon as there is a connection. @param {string} raw what is published @param {string} text what it says */
  add(raw, text) {
    const node = element('article', 'message own pending');
    node.append(element('p', 'said', text), element('p', 'fate'));
    const item = { raw, key: newKey(), state: 'queued', node };
    this.#items.push(item);
    this.node.append(node);
    this.#send(item);
  }

  /** Whether `raw`, which came in the channel, is a message from here. */
  returned(raw) {
    const item = this.#items.find((each) => each.raw === raw);
    if (item) this.#remove(item);
    return item !== undefined;
  }

  /** There is a connection. */
  connected() {
    for (const item of this.#items) if (item.state === 'queued') this.#send(item);
  }

  async #send(item) {
    if (sockeye.state !== 'live') return this.#become(item, 'queued', words.queued);
    this.#become(item, 'sent', words.sent);
    try {
      await sockeye.publish(this.#channel, item.raw, { key: item.key });
    } catch (problem) {
      if (problem.code) this.#become(item, 'failed', words.failed(problem.message));
      else {
        this.#become(item, 'queued', words.queued);
        setTimeout(() => this.connected(), AGAIN_AFTER_MS);
      }
    }
  }

  #become(item, state, text) {
    item.state = state;
    item.node.dataset.state = state;
    const fate = item.node.lastElementChild;
    say(fate, text);
    if (state !== 'failed') return;
    fate.append(
      button(words.sendAgain, () => this.#send(item)),
      button(words.discard, () => this.#remove(item)),
    );
  }

  #remove(item) {
    item.node.remove();
    this.#items = this.#items.filter((each) => each !== item);
  }
}

function newKey() {
  return Array.from(crypto.getRandomValues(new Uint32Array(4))).join('-');
}

function button(text, pressed) {
  const node = element('button', 'quiet', text);
  node.type = 'button';
  node.addEventListener('click', pressed);
  return node;
}
