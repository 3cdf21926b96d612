/** The console: fills in its words, keeps to the part of the screen that is visible, and opens the channel of its URL. */

import { channelUrl, isChannelName } from './channel.js';
import { Chat } from './chat.js';
import { words } from './words.js';

const DEFAULT_CHANNEL = 'chat';

/** @type {Record<string, HTMLElement>} */
const parts = Object.fromEntries(Array.from(document.querySelectorAll('[id]'), (node) => [node.id, node]));

speak();
followViewport();
setUpRecipes();
const chat = new Chat(parts);
let current = '';
setUpChannel();

/** Puts the words in their places. */
function speak() {
  for (const node of document.querySelectorAll('[data-word]')) node.textContent = words[node.dataset.word];
  for (const node of document.querySelectorAll('[data-label]')) node.setAttribute('aria-label', words[node.dataset.label]);
  for (const node of document.querySelectorAll('[data-hint]')) node.placeholder = words[node.dataset.hint];
}

// Where an on-screen keyboard lies over the page instead of shrinking it, only the visual viewport knows.
function followViewport() {
  const viewport = window.visualViewport;
  if (!viewport) return;
  const follow = () => document.documentElement.style.setProperty('--visible-height', `${viewport.height}px`);
  viewport.addEventListener('resize', follow);
  follow();
}

/** The channel is what follows `#`, or `?channel=`, or `chat`. */
function setUpChannel() {
  parts['channel-form'].addEventListener('submit', (event) => {
    event.preventDefault();
    const name = parts.channel.value.trim().replace(/^#/, '');
    choose(name);
    if (isChannelName(name)) parts.draft.focus();
  });
  parts.channel.addEventListener('blur', () => (parts.channel.value = current));
  addEventListener('hashchange', () => open(channelOfUrl()));
  open(channelOfUrl());
}

function channelOfUrl() {
  const hash = location.hash.slice(1);
  try {
    return decodeURIComponent(hash) || new URLSearchParams(location.search).get('channel') || DEFAULT_CHANNEL;
  } catch {
    return hash;
  }
}

function choose(name) {
  if (isChannelName(name) && name !== current) location.hash = name;
  else open(name || current);
}

function open(name) {
  const valid = isChannelName(name);
  parts['channel-error'].hidden = valid;
  parts['channel-error'].textContent = valid ? '' : words.badChannel(name);
  if (valid ? name !== current : current === '') {
    current = valid ? name : DEFAULT_CHANNEL;
    chat.open(current);
    showRecipes(current);
    document.title = words.title(current);
  }
  parts.channel.value = current;
}

function showRecipes(name) {
  parts.curl.textContent = `curl -d 'hello' ${channelUrl(name)}`;
  parts.socket.textContent = `ws = new WebSocket("${channelUrl(name, 'ws')}")\nws.onmessage = (e) => console.log(e.data)`;
}

function setUpRecipes() {
  const toggle = parts['recipes-toggle'];
  toggle.addEventListener('click', () => {
    const shown = parts.recipes.classList.toggle('shown');
    toggle.setAttribute('aria-expanded', String(shown));
  });
  for (const button of document.querySelectorAll('[data-copies]')) {
    button.addEventListener('click', async () => {
      await copy(parts[button.dataset.copies]);
      button.textContent = words.copied;
      setTimeout(() => (button.textContent = words.copy), 1500);
    });
  }
}

// The clipboard is only there in a secure context; a page from a LAN address selects the text and copies that.
async function copy(node) {
  try {
    await navigator.clipboard.writeText(node.textContent);
  } catch {
    getSelection().selectAllChildren(node);
    document.execCommand('copy');
  }
}
