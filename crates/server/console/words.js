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
  for (const node of document.querySelectorAll('[data-word]')) node.textContent = words[node.dataset.word];
  for (const node of document.querySelectorAll('[data-label]')) node.setAttribute('aria-label', words[node.dataset.label]);
  for (const node of document.querySelectorAll('[data-hint]')) node.placeholder = words[node.dataset.hint];
}

/** Goes on in the other language. What is on the page comes again from the server. */
export function speakOtherLanguage() {
  remember('local', KEY, language === 'en' ? 'zh' : 'en');
  location.reload();
}
