/** The console: fills in its words, keeps to the part of the screen that is visible, and opens what its address names. */

import { Chat } from './chat.js';
import { Compare } from './compare.js';
import { askForToken, setUpToken, showState, token } from './connection.js';
import { Crowd } from './crowd.js';
import { Doctor } from './doctor.js';
import { Inspector } from './inspector.js';
import { base, channelUrl, hashOf, isChannelName, placeOf } from './place.js';
import { say, speak, speakOtherLanguage, words } from './words.js';

/** @type {Record<string, HTMLElement>} */
const parts = Object.fromEntries(Array.from(document.querySelectorAll('[id]'), (node) => [node.id, node]));

speak();
followViewport();
setUpRecipes();
setUpToken(parts);
showState(parts);
parts.language.addEventListener('click', speakOtherLanguage);

/** The server does not let this page read the channel. */
function refused(problem) {
  if (problem.code === 'unauthorized') askForToken(parts);
  complain(words.refused(problem.message));
}

const crowd = new Crowd(parts.crowded);
/** Those that hold connections beside the console's own. */
const HOLDERS = ['compare', 'doctor'];

/** Each has `open(channel)` and `leave()`. */
const pages = {
  chat: new Chat(parts, refused),
  inspect: new Inspector(parts, refused),
  compare: new Compare(parts, refused),
  doctor: new Doctor(parts, refused, crowd),
};
let current = { page: '', channel: '' };
setUpChannel();

// Where an on-screen keyboard lies over the page instead of shrinking it, only the visual viewport knows.
function followViewport() {
  const viewport = window.visualViewport;
  if (!viewport) return;
  const follow = () => document.documentElement.style.setProperty('--visible-height', `${viewport.height}px`);
  viewport.addEventListener('resize', follow);
  follow();
}

function setUpChannel() {
  parts['channel-form'].addEventListener('submit', (event) => {
    event.preventDefault();
    choose(parts.channel.value.trim().replace(/^#/, ''));
  });
  parts.channel.addEventListener('blur', () => (parts.channel.value = current.channel));
  addEventListener('hashchange', () => open(placeOf(location)));
  open(placeOf(location));
}

function choose(name) {
  const { page, channel } = current;
  if (!isChannelName(name) || name === channel) return open({ page, channel: name || channel });
  location.hash = hashOf(page, name);
  if (page === 'chat') parts.draft.focus();
}

function open({ page, channel }) {
  const isValid = isChannelName(channel);
  complain(isValid ? '' : words.badChannel(channel));
  const next = { page, channel: isValid ? channel : current.channel || placeOf({ hash: '', search: '' }).channel };
  parts.channel.value = next.channel;
  if (next.page === current.page && next.channel === current.channel) return;
  pages[current.page]?.leave();
  current = next;
  show(next);
  crowd.holds(HOLDERS.includes(next.page));
  pages[next.page].open(next.channel);
}

function show({ page, channel }) {
  document.title = words.title(channel);
  document.body.dataset.page = page;
  for (const name of Object.keys(pages)) {
    parts[name].hidden = name !== page;
    const link = parts[`to-${name}`];
    link.href = hashOf(name, channel);
    if (name === page) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  showRecipes(channel);
}

function complain(text) {
  say(parts.complaint, text);
  parts.complaint.hidden = text === '';
}

function showRecipes(name) {
  const url = channelUrl(name);
  const curl = token ? 'curl -H "Authorization: Bearer $SOCKEYE_TOKEN"' : 'curl';
  recipe(parts.curl, `${curl} -d 'hello' ${url}\n${curl} -N -H 'Accept: text/event-stream' ${url}`);
  const client = token ? 'new Sockeye(undefined, { token })' : 'new Sockeye()';
  recipe(parts.client, `import { Sockeye } from "${new URL('../sockeye.js', url)}"\n\n${client}.subscribe("${name}", {\n  onmessage: ({ data }) => console.log(data)\n})`);
  const socket = token ? ticketed(name) : `ws = new WebSocket("${channelUrl(name, 'ws')}")`;
  recipe(parts.socket, `${socket}\nws.onmessage = (e) => console.log(e.data)`);
}

// A browser's WebSocket can't send headers: a ticket, good for once, stands in for the token.
function ticketed(name) {
  const tickets = new URL('tickets', base);
  const headers = 'headers = { Authorization: `Bearer ${token}` }';
  const answer = `answer = await fetch("${tickets}", { method: "POST", headers })`;
  return `${headers}\n${answer}\nticket = (await answer.json()).ticket\nws = new WebSocket(\`${channelUrl(name, 'ws')}?ticket=\${ticket}\`)`;
}

/** Shows code. A line that is too long is broken behind a parenthesis, or before the name of the channel. */
function recipe(node, text) {
  const pieces = text.split(/(?<=\(|\/c\/)/);
  node.replaceChildren(...pieces.flatMap((piece) => [piece, document.createElement('wbr')]));
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
