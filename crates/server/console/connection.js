/** The one connection of the console, its token, and the state of it at the top of the page. */

import { Sockeye } from './sockeye.js';
import { recall, remember } from './memory.js';
import { base } from './place.js';
import { words } from './words.js';

const TOKEN_KEY = 'sockeye.token';

/** The access token, if this person has given one. */
export const token = recall('session', TOKEN_KEY);

/** Windows without tokens share one connection; with a token each has its own, since the page does not know its bearer. */
export const sockeye = new Sockeye(base, token ? { token, share: false } : {});

/** Shows how the connection is. @param {Record<string, HTMLElement>} parts the elements of the page, by id */
export function showState(parts) {
  let clock = 0;
  const show = () => {
    const { state, 'state-text': text, retry } = parts;
    const isWaiting = sockeye.state === 'waiting';
    const kind = isWaiting && !navigator.onLine ? 'offline' : sockeye.state;
    state.dataset.state = kind;
    state.title = sockeye.error?.message ?? '';
    text.textContent = kind === 'live' ? `${words.live} · ${words.over[sockeye.transport]}` : words[kind];
    retry.hidden = !isWaiting;
    clearInterval(clock);
    if (isWaiting) clock = setInterval(showSeconds, 250);
    showSeconds();
  };
  const showSeconds = () => {
    const seconds = Math.max(0, Math.ceil((sockeye.retryAt - Date.now()) / 1000));
    const isCounting = parts.state.dataset.state === 'waiting';
    parts['state-seconds'].textContent = isCounting ? words.waitingSeconds(seconds) : '';
  };
  sockeye.addEventListener('state', show);
  addEventListener('online', show);
  addEventListener('offline', show);
  parts.retry.addEventListener('click', () => sockeye.retry());
  show();
}

/** Lets the person give a token, or take it back. The page begins anew with it. */
export function setUpToken(parts) {
  const { 'token-toggle': toggle, 'token-dialog': dialog, token: field, 'token-forget': forget, 'token-cancel': cancel } = parts;
  const use = (value) => {
    remember('session', TOKEN_KEY, value);
    location.reload();
  };
  toggle.setAttribute('aria-pressed', String(token !== ''));
  toggle.addEventListener('click', askForToken.bind(null, parts));
  forget.hidden = token === '';
  forget.addEventListener('click', () => use(''));
  cancel.addEventListener('click', () => dialog.close());
  dialog.addEventListener('close', () => dialog.returnValue === 'use' && use(field.value.trim()));
}

/** Opens the dialogue for the token. */
export function askForToken({ 'token-dialog': dialog, token: field }) {
  if (dialog.open) return;
  field.value = token;
  dialog.returnValue = '';
  dialog.showModal();
}
