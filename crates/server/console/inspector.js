/** The inspector: every message of a channel as it is, from any position of its history on; publishing; presence. */

import { sockeye, token } from './connection.js';
import { element } from './log.js';
import { describe } from './message.js';
import { channelUrl } from './place.js';
import { Publisher } from './publisher.js';
import { say, words } from './words.js';

const KEEP = 500;
const SHORT = 160;
const PRESENCE_EVERY_MS = 5_000;
const MEMBERS = 100;

export class Inspector {
  #parts;
  #refused;
  #channel = '';
  #subscription = null;
  #count = 0;
  /** What came while it was paused. @type {object[] | null} */
  #held = null;
  #presenceTimer = 0;

  /** @param {Record<string, HTMLElement>} parts the elements of the page, by id @param {(problem: object) => void} refused */
  constructor(parts, refused) {
    this.#parts = parts;
    this.#refused = refused;
    new Publisher(parts, () => this.#channel);
    this.#setUpRewind();
    this.#setUpForget();
    parts.pause.addEventListener('click', () => this.#togglePause());
  }

  /** Shows a channel. @param {string} name a valid channel name */
  open(name) {
    this.#channel = name;
    this.#parts.published.textContent = '';
    this.#parts.forgotten.textContent = '';
    this.#read('-50');
    this.#presenceTimer = setInterval(() => this.#showPresence(), PRESENCE_EVERY_MS);
  }

  leave() {
    this.#subscription?.close();
    this.#subscription = null;
    clearInterval(this.#presenceTimer);
  }

  // A subscription of its own for each place to begin at: that is all there is to rewinding.
  #read(after) {
    this.#subscription?.close();
    this.#parts.entries.replaceChildren();
    this.#parts.after.value = after;
    this.#count = 0;
    this.#held = null;
    this.#showPause();
    this.#showCount();
    this.#subscription = sockeye.subscribe(this.#channel, {
      after,
      presence: true,
      onmessage: (message) => this.#take(message),
      ongap: (gap) => this.#take({ gap }),
      onjoin: () => this.#showPresence(),
      onleave: () => this.#showPresence(),
      onerror: this.#refused,
    });
    this.#subscription.ready.then(() => this.#showPresence(), () => {});
  }

  #take(item) {
    if (this.#held) {
      this.#held.push(item);
      this.#showPause();
    } else this.#show(item);
  }

  #show(item) {
    const { entries } = this.#parts;
    entries.prepend(item.gap ? gapElement(item.gap) : entryElement(item));
    if (!item.gap) this.#count += 1;
    while (entries.childElementCount > KEEP) entries.lastElementChild.remove();
    this.#showCount();
  }

  #showCount() {
    const { entries, 'entry-count': count, 'no-entries': none } = this.#parts;
    count.textContent = words.shown(this.#count);
    none.hidden = entries.childElementCount > 0;
  }

  #togglePause() {
    const held = this.#held;
    this.#held = held ? null : [];
    for (const item of held ?? []) this.#show(item);
    this.#showPause();
  }

  #showPause() {
    const { pause } = this.#parts;
    pause.textContent = this.#held ? words.goOn(this.#held.length) : words.pause;
    pause.setAttribute('aria-pressed', String(this.#held !== null));
  }

  #setUpRewind() {
    const { rewind, after, starts } = this.#parts;
    rewind.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#read(after.value.trim() || 'now');
    });
    for (const [start, text] of Object.entries(words.starts)) {
      const button = element('button', 'chip', text);
      button.type = 'button';
      button.addEventListener('click', () => this.#read(start));
      starts.append(button);
    }
  }

  async #showPresence() {
    const { listeners, members } = this.#parts;
    const channel = this.#channel;
    try {
      const presence = await sockeye.presence(channel, { limit: MEMBERS });
      if (channel !== this.#channel) return;
      listeners.textContent = words.listeners(presence.count);
      const names = presence.members.map(({ id }) => element('li', '', id));
      const others = presence.count - presence.members.length;
      // Beyond the first page it is not known how many of the others have a name.
      const text = presence.next === undefined ? words.others : words.more;
      if (others > 0) names.push(element('li', 'others', text(others)));
      members.replaceChildren(...names);
    } catch (problem) {
      if (problem.code === 'forbidden') listeners.textContent = words.presenceForbidden;
    }
  }

  #setUpForget() {
    const { forget, 'forget-dialog': dialog, 'forget-sure': sure, forgotten } = this.#parts;
    forget.addEventListener('click', () => {
      sure.textContent = words.forgetSure(this.#channel);
      dialog.returnValue = '';
      dialog.showModal();
    });
    dialog.addEventListener('close', async () => {
      if (dialog.returnValue !== 'delete') return;
      const headers = token ? { Authorization: `Bearer ${token}` } : {};
      const response = await fetch(channelUrl(this.#channel), { method: 'DELETE', headers }).catch(() => null);
      const problem = response?.ok ? null : await response?.json().catch(() => null);
      say(forgotten, response?.ok ? words.forgotten : words.refused(problem?.detail ?? response?.status ?? ''));
    });
  }
}

/** A message: one line, and all of it when it is opened. */
function entryElement({ at, ts, event, data }) {
  const { kind, text } = payloadOf(data);
  const time = element('time', '', new Date(ts).toLocaleTimeString(words.locale, { hour12: false }));
  time.dateTime = new Date(ts).toISOString();
  const line = element('summary');
  line.append(element('code', 'at', at), time, element('span', `kind ${kind}`, words.kinds[kind]));
  if (event) line.append(element('span', 'event', event));
  line.append(element('code', 'preview', text.slice(0, SHORT).replace(/\s+/g, ' ')));
  const entry = element('details', 'entry');
  const payload = element('pre', '', text);
  payload.tabIndex = 0;
  entry.append(line, payload);
  return entry;
}

function gapElement({ after, next, why }) {
  const line = element('p', 'divider gap', words.gap[why] ?? words.gap.reset);
  line.title = `${after} → ${next}`;
  return line;
}

function payloadOf(data) {
  if (data instanceof Uint8Array) return { kind: 'bytes', text: describe(data) };
  if (typeof data === 'string') return { kind: 'text', text: data };
  return { kind: 'json', text: JSON.stringify(data, null, 2) };
}
