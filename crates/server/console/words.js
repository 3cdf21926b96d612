/** Every word of the console that a person reads, in the language that this person chose or that the browser speaks. */

import { en } from './en.js';
import { zh } from './zh.js';
import { recall, remember } from './memory.js';

const LANGUAGES = { en, zh };
const KEY = 'sockeye.language';

const chosen = recall('local', KEY) || navigator.languages.map((tag) => tag.slice(0, 2)).find((tag) => tag in LANGUAGES);
const language = chosen in LANGUAGES ? chosen : 'en';

export const words = LANGUAGES[language];

/** Puts the words in their places in the page. */
export function speak() {
  document.documentElement.lang = words.locale;
  for (const node of document.querySelectorAll('[data-word]')) say(node, words[node.dataset.word]);
  for (const node of document.querySelectorAll('[data-label]')) node.setAttribute('aria-label', words[node.dataset.label]);
  for (const node of document.querySelectorAll('[data-hint]')) node.placeholder = words[node.dataset.hint];
}

/** Puts a text into the page, with what is between backticks as code. */
export function say(node, text) {
  const parts = String(text).split('`');
  const hasPairs = parts.length % 2 === 1;
  if (!hasPairs) return void (node.textContent = text);
  node.replaceChildren(...parts.map((part, index) => (index % 2 ? code(part) : part)));
}

function code(text) {
  const node = document.createElement('code');
  node.textContent = text;
  return node;
}

/** Goes on in the other language. What is on the page comes again from the server. */
export function speakOtherLanguage() {
  remember('local', KEY, language === 'en' ? 'zh' : 'en');
  location.reload();
}
