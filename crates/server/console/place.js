/** Where things are: the server beside this page, its channels, and the page that the address names. */

const PAGES = ['chat', 'inspect', 'compare', 'doctor'];
const DEFAULT_CHANNEL = 'chat';

/** The server's address, beside this page. */
export const base = new URL('.', location.origin + location.pathname);

/** Whether `name` is a channel name: 1 to 255 of `A-Z a-z 0-9 _ - . : ~ @`, beginning with a letter or digit. */
export function isChannelName(name) {
  return /^[A-Za-z0-9][A-Za-z0-9_.:~@-]{0,254}$/.test(name);
}

/** The URL of a channel. A valid name needs no escaping. */
export function channelUrl(name, scheme = 'http') {
  const url = new URL(`c/${name}`, base);
  if (scheme === 'ws') url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url;
}

/**
 * What the address asks for: `#river` is the chat of a channel, `#/inspect/river`, `#/compare/river` and `#/doctor/river` other pages.
 * @returns {{page: string, channel: string}} a channel that may not be valid, as it was typed
 */
export function placeOf({ hash, search }) {
  const [, page, rest] = /^#\/([a-z]+)\/?(.*)$/.exec(hash) ?? [, 'chat', hash.slice(1)];
  const channel = decoded(rest) || new URLSearchParams(search).get('channel') || DEFAULT_CHANNEL;
  return { page: PAGES.includes(page) ? page : 'chat', channel };
}

/** The address of a page of a channel. */
export function hashOf(page, channel) {
  return page === 'chat' ? `#${channel}` : `#/${page}/${channel}`;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
