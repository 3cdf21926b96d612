/** Lists the channels and the connections of this server, again and again, and shows what passes on one of them. */

/** How often the lists are asked for, in milliseconds, while the page is seen. */
const PERIOD = 3000;
/** How much of each list is shown. */
const LISTED = 100;
/** How many lines of a tap are kept. */
const KEPT = 500;

const find = (selector) => document.querySelector(selector);
const count = (number) => number.toLocaleString('en');

/** An element with a text, and with a class if it has one. */
function element(name, text, kind) {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

/** A row of a table, that of what is tapped marked; `cells` are texts with a class or none. */
function row(tapped, path, cells, title) {
  const tr = document.createElement('tr');
  if (tapped === path) tr.setAttribute('aria-current', 'true');
  const button = element('button', 'Tap');
  button.type = 'button';
  button.setAttribute('aria-label', `Tap ${title}`);
  button.addEventListener('click', () => tap(path, title));
  const first = document.createElement('td');
  first.append(button);
  tr.append(first, ...cells.map(([text, kind]) => element('td', text, kind)));
  return tr;
}

/** Puts rows into a table, unless a button in it is about to be pressed. */
function fill(table, rows) {
  const body = find(`#${table} tbody`);
  if (body.matches(':active')) return;
  const focused = body.contains(document.activeElement) ? document.activeElement.getAttribute('aria-label') : null;
  body.replaceChildren(...rows);
  if (focused) body.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
}

const ofReaders = (readers) =>
  Object.entries(readers)
    .map(([transport, readers]) => `${count(readers)} ${transport}`)
    .join(', ') || '–';

function ofChannel({ channel, messages, readers, ended }) {
  const cells = [[ended ? `${channel} (ended)` : channel, 'names'], [messages === null ? '–' : count(messages), 'number'], [ofReaders(readers)]];
  return row(tapped, `channels/${encodeURIComponent(channel)}/tap`, cells, `channel ${channel}`);
}

function ofConnection({ id, transport, subject, address, channels }) {
  const lag = Math.max(0, ...channels.map(({ lag }) => lag));
  const names = channels.map(({ channel }) => channel);
  const shown = names.length > 3 ? `${names.slice(0, 3).join(', ')} and ${names.length - 3} more` : names.join(', ');
  const client = [subject, address].filter(Boolean).join(' · ') || '–';
  const cells = [[id, 'number'], [transport], [client], [shown || '–', 'names'], [count(lag), lag > 0 ? 'number late' : 'number']];
  return row(tapped, `connections/${id}/tap`, cells, `connection ${id}`);
}

const shownOf = (list, all) => (list.length < all ? `${count(list.length)} of ${count(all)}` : count(all));

async function json(path) {
  const answer = await fetch(path, { headers: { Accept: 'application/json' } });
  if (!answer.ok) throw new Error(`${answer.status}`);
  return answer.json();
}

async function look() {
  const prefix = encodeURIComponent(find('#prefix').value.trim());
  const [channels, connections] = await Promise.all([json(`channels?limit=${LISTED}&prefix=${prefix}`), json(`connections?limit=${LISTED}`)]);
  find('#channels-count').textContent = shownOf(channels.channels, channels.count);
  find('#connections-count').textContent = shownOf(connections.connections, connections.count);
  fill('channels', channels.channels.map(ofChannel));
  fill('connections', connections.connections.map(ofConnection));
}

let asking;

/** Asks for the lists now, and again after a while. */
async function ask() {
  clearTimeout(asking);
  try {
    if (!document.hidden) {
      await look();
      say('#state', 'well', 'Live');
      find('#asked').textContent = `asked at ${new Date().toLocaleTimeString()}`;
    }
  } catch {
    say('#state', 'silent', 'This server does not answer');
  }
  clearTimeout(asking);
  asking = setTimeout(ask, PERIOD);
}

function say(where, state, text) {
  find(where).dataset.state = state;
  find(where).textContent = text;
}

/** What is tapped, by its path, and the stream of it. */
let tapped = null;
let source = null;

function tap(path, title) {
  source?.close();
  tapped = path;
  find('#tap').hidden = false;
  find('#tap-title').textContent = `What passes on ${title}`;
  find('#lines').replaceChildren();
  say('#tap-state', 'asking', 'Opening…');
  const opened = new EventSource(`${path}?stream=sse`);
  source = opened;
  opened.addEventListener('message', ({ data }) => opened === source && take(JSON.parse(data)));
  opened.addEventListener('open', () => opened === source && say('#tap-state', 'well', 'Live'));
  opened.addEventListener('error', () => opened === source && stop('silent', 'The tap has ended, or was refused'));
  void ask();
}

/** Ends the tap. What it has shown stays. */
function stop(state, text) {
  source?.close();
  source = null;
  tapped = null;
  say('#tap-state', state, text);
}

/** Who a line is about. */
const who = ({ connection, transport, subject, address }) => [transport, connection && `#${connection}`, subject, address].filter(Boolean).join(' ');

/** What a line shows of a payload. */
function payload({ size, data, start, b64, b64_start: b64Start, hidden }) {
  const text = data === undefined ? (start ?? b64 ?? b64Start ?? '') : typeof data === 'string' ? data : JSON.stringify(data);
  if (hidden) return `${count(size)} B, not shown`;
  return `${text}${start !== undefined || b64Start !== undefined ? '…' : ''}  (${count(size)} B${b64 !== undefined || b64Start !== undefined ? ', base64' : ''})`;
}

/** A line in words: its kind, its text, and what is less important. */
const WORDS = {
  tap: (tap) => ['tapped', tap.channel ? `${tap.channel} at ${tap.at}, readers: ${ofReaders(tap.readers)}` : who({ ...tap, connection: tap.id })],
  message: (message) => [message.event ?? 'message', payload(message), `${message.at}${message.by ? ` by ${who(message.by)}` : ''}`],
  refused: ({ code, size, by }) => ['refused', `${code}, ${count(size)} B`, `by ${who(by)}`],
  subscribed: (reader) => ['subscribed', reader.channel ?? who(reader), `from ${reader.at}`],
  unsubscribed: (reader) => ['unsubscribed', reader.channel ?? who(reader), reader.why],
  gap: (gap) => ['gap', `${gap.why}, after ${gap.after}`, gap.channel ?? who(gap)],
  in: (frame) => [`← ${frame.kind}`, payload(frame)],
  out: (frame) => [`→ ${frame.kind}`, payload(frame), [frame.channel, frame.at].filter(Boolean).join(' ')],
  close: ({ from, code, reason }) => ['close', `${code} ${reason}`, `by the ${from}`],
  dropped: (dropped) => ['dropped', `${count(dropped)} events: this page, or the way to it, is too slow`],
  end: ({ why, at }) => ['end', why, at],
};

function take(line) {
  const [kind, what] = Object.entries(line)[0];
  const [name, text, rest] = WORDS[kind]?.(what) ?? [kind, JSON.stringify(what)];
  const lines = find('#lines');
  const isAtEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
  const item = element('li', '', kind);
  const words = element('span', `${text ?? ''} `);
  if (rest) words.append(element('small', rest));
  item.append(element('time', new Date().toLocaleTimeString()), element('b', name), words);
  lines.append(item);
  while (lines.childElementCount > KEPT) lines.firstElementChild.remove();
  if (isAtEnd) lines.scrollTop = lines.scrollHeight;
  if (kind === 'end') stop('over', 'Ended');
}

find('#stop').addEventListener('click', () => source && stop('over', 'Stopped'));
find('#clear').addEventListener('click', () => find('#lines').replaceChildren());
find('#prefix').addEventListener('input', () => void ask());
document.addEventListener('visibilitychange', () => document.hidden || void ask());
void ask();
