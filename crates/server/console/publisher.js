/** The form that publishes: text, JSON or bytes, with the name of an event if it is to have one. */

import { sockeye } from './connection.js';
import { say, words } from './words.js';

export class Publisher {
  #parts;
  #channel;

  /** @param {Record<string, HTMLElement>} parts the elements of the page, by id @param {() => string} channel where to */
  constructor(parts, channel) {
    this.#parts = parts;
    this.#channel = channel;
    const { 'publish-form': form, 'publish-kind': kind, 'publish-data': data } = parts;
    for (const [value, text] of Object.entries(words.kinds)) kind.append(new Option(text, value));
    kind.addEventListener('change', () => (data.placeholder = kind.value === 'bytes' ? words.hexHint : ''));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#publish(payloads[kind.value], data.value);
    });
  }

  async #publish(payload, text) {
    const { published, 'publish-event': event } = this.#parts;
    try {
      const at = await sockeye.publish(this.#channel(), payload(text), { event: event.value.trim() || undefined });
      published.textContent = words.published(at);
    } catch (problem) {
      say(published, problem instanceof Mistake ? problem.message : words.refused(problem.message));
    }
  }
}

/** Something that was typed and is not what it should be. */
class Mistake extends Error {}

const payloads = {
  text: (text) => text,
  json: (text) => {
    try {
      return JSON.parse(text);
    } catch {
      throw new Mistake(words.badJson);
    }
  },
  bytes: (text) => {
    const digits = text.replace(/\s+/g, '');
    if (!/^([0-9a-f]{2})*$/i.test(digits)) throw new Mistake(words.badHex);
    return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  },
};
