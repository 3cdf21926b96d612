/** The chat: a channel, its messages, a name and a line to write on. */

import { Channel } from './channel.js';
import { Log } from './log.js';
import { compose, raw, read } from './message.js';
import { Outbox } from './outbox.js';
import { words } from './words.js';

const NAME_KEY = 'sockeye.name';

export class Chat {
  #parts;
  #log;
  /** @type {Channel | null} */
  #channel = null;
  /** What is on its way, by channel. @type {Map<string, Outbox>} */
  #outboxes = new Map();
  /** @type {Outbox} */
  #outbox;
  #state = { kind: 'connecting' };
  #clock = 0;

  /** @param {Record<string, HTMLElement>} parts the elements of the page, by id */
  constructor(parts) {
    this.#parts = parts;
    this.#log = new Log({ list: parts.log, scroller: parts.stream, latest: parts.latest, empty: parts.empty });
    this.#setUpName();
    this.#setUpDraft();
    parts.retry.addEventListener('click', () => {
      this.#channel?.retryNow();
      parts.draft.focus();
    });
  }

  /** Leaves the channel it was in and joins another. @param {string} name a valid channel name */
  open(name) {
    this.#channel?.close();
    this.#log.clear();
    this.#log.announced = false;
    this.#log.showEmptiness(false);
    this.#outbox = this.#outboxOf(name);
    this.#parts.outbox.replaceChildren(this.#outbox.node);
    this.#channel = new Channel(name, {
      message: (payload, ts, history) => this.#receive(payload, ts, history),
      gap: (why) => this.#log.gap(why),
      state: (state) => this.#changed(state),
    });
  }

  #outboxOf(name) {
    if (!this.#outboxes.has(name)) {
      this.#outboxes.set(
        name,
        new Outbox(
          (text) => this.#outbox === this.#outboxes.get(name) && this.#channel.send(text),
          () => this.#outbox === this.#outboxes.get(name) && this.#channel.restart(),
        ),
      );
    }
    return this.#outboxes.get(name);
  }

  // Of the history, what carries this name is taken for one's own; live, what this page has sent.
  #receive(payload, ts, history) {
    const said = read(payload);
    const own = history ? !said.anonymous && said.author === this.#name : this.#outbox.returned(raw(payload));
    this.#log.message(said, { ts, own });
  }

  #changed(state) {
    this.#state = state;
    if (state.kind === 'live') {
      this.#log.announced = true;
      this.#log.showEmptiness(true);
      this.#outbox.connected();
    }
    clearInterval(this.#clock);
    if (state.kind === 'waiting') this.#clock = setInterval(() => this.#showSeconds(), 250);
    this.#showState();
  }

  #showState() {
    const { state, 'state-text': text, retry } = this.#parts;
    const { kind } = this.#state;
    state.dataset.state = kind;
    state.title = this.#state.reason ?? '';
    text.textContent = words[kind];
    retry.hidden = kind !== 'waiting' && kind !== 'offline';
    this.#showSeconds();
  }

  #showSeconds() {
    const seconds = Math.max(0, Math.ceil((this.#state.until - Date.now()) / 1000));
    this.#parts['state-seconds'].textContent = this.#state.kind === 'waiting' ? words.waitingSeconds(seconds) : '';
  }

  get #name() {
    return this.#parts.name.value;
  }

  // A chosen name is remembered for every window; a random one only for this one, so that two windows are two people.
  #setUpName() {
    const { name, draft } = this.#parts;
    name.value = recall(() => localStorage) || recall(() => sessionStorage) || randomName();
    remember(() => sessionStorage, name.value);
    name.addEventListener('change', () => {
      name.value = name.value.trim() || randomName();
      remember(() => localStorage, name.value);
      remember(() => sessionStorage, name.value);
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
    if (matchMedia('(pointer: fine)').matches) draft.focus();
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
  return `${pick(words.adjectives)} ${pick(words.animals)}`;
}

// Storage may be forbidden, and even naming it then throws; the chat works without.
function recall(storage) {
  try {
    return storage().getItem(NAME_KEY) ?? '';
  } catch {
    return '';
  }
}

function remember(storage, name) {
  try {
    storage().setItem(NAME_KEY, name);
  } catch {
    // The name lasts as long as the page, then.
  }
}
