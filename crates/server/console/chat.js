/** The chat: a channel, its messages, a name and a line to write on. */

import { sockeye } from './connection.js';
import { Log } from './log.js';
import { recall, remember } from './memory.js';
import { compose, raw, read } from './message.js';
import { Outbox } from './outbox.js';
import { words } from './words.js';

const NAME_KEY = 'sockeye.name';
const HISTORY = '-100';

export class Chat {
  #parts;
  #refused;
  #log;
  #subscription = null;
  /** What is on its way, by channel. @type {Map<string, Outbox>} */
  #outboxes = new Map();
  /** @type {Outbox} */
  #outbox;

  /** @param {Record<string, HTMLElement>} parts the elements of the page, by id @param {(problem: object) => void} refused */
  constructor(parts, refused) {
    this.#parts = parts;
    this.#refused = refused;
    this.#log = new Log({ list: parts.log, scroller: parts.stream, latest: parts.latest, empty: parts.empty });
    this.#setUpName();
    this.#setUpDraft();
    parts.retry.addEventListener('click', () => parts.draft.focus());
    sockeye.addEventListener('state', () => sockeye.state === 'live' && this.#outbox?.connected());
  }

  /** Joins a channel. @param {string} name a valid channel name */
  open(name) {
    this.#log.clear();
    this.#log.announced = false;
    this.#log.showEmptiness(false);
    this.#outbox = this.#outboxOf(name);
    this.#parts.outbox.replaceChildren(this.#outbox.node);
    let isHistory = true;
    const subscription = sockeye.subscribe(name, {
      after: HISTORY,
      onmessage: (message) => this.#receive(message, isHistory),
      ongap: ({ why }) => this.#log.gap(why),
      onerror: this.#refused,
    });
    const begun = () => {
      if (this.#subscription !== subscription) return;
      isHistory = false;
      this.#log.announced = true;
      this.#log.showEmptiness(true);
    };
    this.#subscription = subscription;
    subscription.ready.then(begun, () => {});
    if (matchMedia('(pointer: fine)').matches) this.#parts.draft.focus();
  }

  /** Leaves it. */
  leave() {
    this.#subscription?.close();
    this.#subscription = null;
  }

  #outboxOf(name) {
    if (!this.#outboxes.has(name)) this.#outboxes.set(name, new Outbox(name));
    return this.#outboxes.get(name);
  }

  // Of the history, what carries this name is taken for one's own; live, what this page has sent.
  #receive({ data, ts }, isHistory) {
    const said = read(data);
    const own = isHistory ? !said.anonymous && said.author === this.#name : this.#outbox.returned(raw(data));
    this.#log.message(said, { ts, own });
  }

  get #name() {
    return this.#parts.name.value;
  }

  // A chosen name is remembered for every window; a random one only for this one, so that two windows are two people.
  #setUpName() {
    const { name, draft } = this.#parts;
    name.value = recall('local', NAME_KEY) || recall('session', NAME_KEY) || randomName();
    remember('session', NAME_KEY, name.value);
    name.addEventListener('change', () => {
      name.value = name.value.trim() || randomName();
      remember('local', NAME_KEY, name.value);
      remember('session', NAME_KEY, name.value);
    });
    name.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.isComposing) return;
      event.preventDefault();
      draft.focus();
    });
  }

  #setUpDraft() {
    const { composer, draft } = this.#parts;
    composer.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    draft.addEventListener('keydown', (event) => {
      // While an input method composes, Enter belongs to it.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    draft.addEventListener('input', () => fit(draft));
  }

  #submit() {
    const { draft } = this.#parts;
    const text = draft.value.trim();
    if (text === '') return;
    draft.value = '';
    fit(draft);
    draft.focus();
    this.#log.showEmptiness(false);
    this.#outbox.add(compose(this.#name, text), text);
    this.#log.toEnd();
  }
}

/** Makes a text area as high as its text; the style sheet bounds it. */
function fit(area) {
  area.style.height = 'auto';
  area.style.height = `${area.scrollHeight}px`;
}

function randomName() {
  const pick = (list) => list[Math.floor(Math.random() * list.length)];
  return words.fullName(pick(words.adjectives), pick(words.animals));
}
