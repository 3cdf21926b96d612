/**
 * What was written here and has not come back yet. A message that comes back in its channel is published; that is its
 * acknowledgement. One that was on its way when the connection broke may have arrived or not: if catching up does not
 * bring it back, the page says so and lets its writer decide.
 */

import { element } from './log.js';
import { words } from './words.js';

/** @typedef {{raw: string, state: 'queued' | 'sent' | 'doubtful', node: HTMLElement, timer: number}} Item */

const BACK_WITHIN_MS = 10_000;

export class Outbox {
  /** The messages, each with its state, to be put below the log. */
  node = element('div', 'outbox');
  /** @type {Item[]} */
  #items = [];
  #transmit;
  #overdue;

  /**
   * @param {(raw: string) => boolean} transmit sends; false while it can not
   * @param {() => void} overdue a message should have come back long ago
   */
  constructor(transmit, overdue) {
    this.#transmit = transmit;
    this.#overdue = overdue;
  }

  /** Sends a message now, or as soon as there is a connection. @param {string} raw what is published @param {string} text what it says */
  add(raw, text) {
    const node = element('article', 'message own pending');
    node.append(element('p', 'said', text), element('p', 'fate'));
    const item = { raw, state: 'queued', node, timer: 0 };
    this.#items.push(item);
    this.node.append(node);
    this.#send(item);
  }

  /** Whether `raw`, which came in the channel, is a message from here. */
  returned(raw) {
    const item = this.#items.find((each) => each.raw === raw && each.state !== 'queued');
    if (item) this.#remove(item);
    return item !== undefined;
  }

  /** There is a connection, and what was missed has been read. */
  connected() {
    for (const item of this.#items) {
      if (item.state === 'sent') this.#become(item, 'doubtful');
    }
    for (const item of this.#items) {
      if (item.state === 'queued') this.#send(item);
    }
  }

  #send(item) {
    const sent = this.#transmit(item.raw);
    this.#become(item, sent ? 'sent' : 'queued');
    if (sent) item.timer = setTimeout(() => this.#overdue(), BACK_WITHIN_MS);
  }

  #become(item, state) {
    clearTimeout(item.timer);
    item.state = state;
    item.node.dataset.state = state;
    const fate = item.node.lastElementChild;
    fate.textContent = words[state];
    if (state !== 'doubtful') return;
    fate.append(
      button(words.sendAgain, () => this.#send(item)),
      button(words.discard, () => this.#remove(item)),
    );
  }

  #remove(item) {
    clearTimeout(item.timer);
    item.node.remove();
    this.#items = this.#items.filter((each) => each !== item);
  }
}

function button(text, pressed) {
  const node = element('button', 'quiet', text);
  node.type = 'button';
  node.addEventListener('click', pressed);
  return node;
}
