/** The messages on the page: a bounded list that stays at its end while the reader is there. */

import { words } from './words.js';

const KEEP = 500;
const TOGETHER_MS = 5 * 60_000;
const NEAR_END_PX = 48;
const HUES = 6;

export class Log {
  #list;
  #scroller;
  #latest;
  #empty;
  /** The last message, if nothing came after it that parts speakers. */
  #last = null;
  #day = '';
  #atEnd = true;
  #scrolling = false;
  #unread = 0;

  /** @param {{list: HTMLElement, scroller: HTMLElement, latest: HTMLElement, empty: HTMLElement}} elements */
  constructor({ list, scroller, latest, empty }) {
    this.#list = list;
    this.#scroller = scroller;
    this.#latest = latest;
    this.#empty = empty;
    scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    latest.addEventListener('click', () => this.toEnd());
    // The keyboard of a phone takes half of the page; the newest message stays in sight.
    new ResizeObserver(() => this.#atEnd && this.toEnd()).observe(scroller);
  }

  /** Forgets everything, for another channel. */
  clear() {
    this.#list.replaceChildren();
    this.#last = null;
    this.#day = '';
    this.toEnd();
  }

  /** Whether a screen reader is told of what is added: yes for what comes live, no for the history. */
  set announced(announced) {
    this.#list.setAttribute('aria-live', announced ? 'polite' : 'off');
  }

  /** Shows the invitation, if there is nothing else to show. */
  showEmptiness(emptiness) {
    this.#empty.hidden = !emptiness || this.#list.childElementCount > 0;
  }

  /** @param {import('./message.js').Said} said @param {{ts: number, own: boolean}} about */
  message(said, { ts, own }) {
    this.#startDay(ts);
    const key = JSON.stringify([said.author, said.anonymous, own]);
    const follows = this.#last?.key === key && ts - this.#last.ts < TOGETHER_MS;
    this.#last = { key, ts };
    this.#append(messageElement(said, ts, own, follows), own);
  }

  /** @param {'expired' | 'slow' | 'reset'} why */
  gap(why) {
    this.#divide('gap', words.gap[why] ?? words.gap.reset);
  }

  /** Shows the newest message. */
  toEnd() {
    this.#atEnd = true;
    this.#unread = 0;
    this.#latest.hidden = true;
    if (this.#scrolling) return;
    // Once a frame, however many messages come in it.
    this.#scrolling = true;
    requestAnimationFrame(() => {
      this.#scroller.scrollTop = this.#scroller.scrollHeight;
      this.#scrolling = false;
    });
  }

  #startDay(ts) {
    const day = new Date(ts).toDateString();
    if (day === this.#day) return;
    const first = this.#day === '' && day === new Date().toDateString();
    this.#day = day;
    if (first) return;
    const date = new Date(ts).toLocaleDateString(words.locale, { weekday: 'long', day: 'numeric', month: 'long' });
    this.#divide('day', date);
  }

  #divide(kind, text) {
    const line = element('p', `divider ${kind}`, text);
    this.#last = null;
    this.#append(line, false);
  }

  #append(node, own) {
    this.#empty.hidden = true;
    this.#list.append(node);
    while (this.#list.childElementCount > KEEP) this.#list.firstElementChild.remove();
    this.#list.firstElementChild.classList.remove('follows');
    if (this.#atEnd || own) this.toEnd();
    else this.#offerEnd(1);
  }

  #scrolled() {
    if (this.#scrolling) return;
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    this.#atEnd = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
    if (this.#atEnd) {
      this.#unread = 0;
      this.#latest.hidden = true;
    } else {
      this.#offerEnd(0);
    }
  }

  #offerEnd(more) {
    this.#unread += more;
    this.#latest.textContent = this.#unread ? words.newMessages(this.#unread) : words.toTheEnd;
    this.#latest.hidden = false;
  }
}

function messageElement(said, ts, own, follows) {
  const message = element('article', 'message');
  message.classList.toggle('own', own);
  message.classList.toggle('follows', follows);
  message.classList.toggle('anonymous', said.anonymous);
  const head = element('header', 'said-by');
  const author = element('span', 'author', said.author);
  author.dataset.hue = hueOf(said.author);
  const date = new Date(ts);
  const time = element('time', '', date.toLocaleTimeString(words.locale, { hour: '2-digit', minute: '2-digit', hour12: false }));
  time.dateTime = date.toISOString();
  time.title = date.toLocaleString(words.locale);
  head.append(author, time);
  const body = element(said.code ? 'pre' : 'p', 'said', said.text);
  body.dir = 'auto';
  message.append(head, body);
  return message;
}

/** An element with text, and only text: whatever a message says, it is never markup. */
export function element(tag, className, text = '') {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.textContent = text;
  return node;
}

function hueOf(name) {
  let hash = 0;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  return hash % HUES;
}
