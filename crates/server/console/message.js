/** What a payload says: its author and text. Any client may publish anything, so nothing about a payload is taken for granted. */

import { words } from './words.js';

const LONGEST_NAME = 40;
const HEX_BYTES = 32;

/**
 * @typedef {object} Said
 * @property {string} author
 * @property {boolean} anonymous the payload names no author
 * @property {string} text
 * @property {boolean} code to be set as code, not as speech
 */

/** The text that the chat publishes. */
export function compose(from, text) {
  return JSON.stringify({ from, text });
}

/**
 * The payload as the text it was published as, to recognise one's own; null for bytes.
 * @param {unknown} payload
 */
export function raw(payload) {
  if (payload instanceof Uint8Array) return null;
  return typeof payload === 'string' ? payload : JSON.stringify(payload);
}

/**
 * Reads a payload: text (with JSON in it, perhaps), JSON, or bytes.
 * @param {unknown} payload
 * @returns {Said}
 */
export function read(payload) {
  if (payload instanceof Uint8Array) return withoutAuthor(describe(payload), true);
  const value = typeof payload === 'string' ? parse(payload) : payload;
  if (isObject(value) && typeof value.text === 'string') {
    const from = typeof value.from === 'string' ? value.from.trim().slice(0, LONGEST_NAME) : '';
    return from ? { author: from, anonymous: false, text: value.text, code: false } : withoutAuthor(value.text, false);
  }
  if (typeof value === 'string') return withoutAuthor(value, false);
  return withoutAuthor(JSON.stringify(value, null, 2), true);
}

function withoutAuthor(text, code) {
  return { author: words.anonymous, anonymous: true, text, code };
}

// Text stays as it was typed unless it is a JSON object or array: `42` and `"hi"` are things people say.
function parse(text) {
  if (!/^\s*[{[]/.test(text)) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Bytes for a person: how many, and the first of them. */
export function describe(bytes) {
  const size = words.bytes(bytes.length);
  const hex = Array.from(bytes.subarray(0, HEX_BYTES), (byte) => byte.toString(16).padStart(2, '0')).join(' ');
  return hex ? `${size}\n${hex}${bytes.length > HEX_BYTES ? ' …' : ''}` : size;
}
