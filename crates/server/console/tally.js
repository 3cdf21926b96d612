/**
 * What a transport costs: requests, bytes out, bytes in, and how late each message was.
 *
 * Bodies and frames are counted as they are. Of the heads a page sees only a part, so they are written here as a browser
 * writes them over HTTP/1.1; a test compares that with what goes over the wire.
 */

/** How many of the latest delays the percentiles are of. */
const DELAYS = 300;

const LINE_END = 2;

export class Tally {
  requests = 0;
  sent = 0;
  received = 0;
  messages = 0;
  #delays = [];

  /** A request with this head went out. */
  request(bytes) {
    this.requests += 1;
    this.sent += bytes;
  }

  /** A message arrived that many milliseconds after it was published. */
  message(delay) {
    this.messages += 1;
    this.#delays.push(delay);
    if (this.#delays.length > DELAYS) this.#delays.shift();
  }

  /** The delay that a fraction of the messages stayed below, in milliseconds; null before the first. */
  percentile(fraction) {
    if (this.#delays.length === 0) return null;
    const sorted = this.#delays.toSorted((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))];
  }
}

/** The size of the head of a `fetch`. @param {string} method @param {URL} url @param {Record<string, string>} headers */
export function requestHead(method, url, headers) {
  return headSize(`${method} ${url.pathname}${url.search} HTTP/1.1`, {
    ...common(url),
    Connection: 'keep-alive',
    ...clientHints(),
    // From here on what `fetch` adds with `cache: "no-store"`.
    Pragma: 'no-cache',
    'Cache-Control': 'no-cache',
    'Sec-Fetch-Site': 'same-origin',
    'Sec-Fetch-Mode': 'cors',
    'Sec-Fetch-Dest': 'empty',
    ...headers,
  });
}

/** The size of the head of an answer. Of its own origin a page sees all headers. @param {Response} response */
export function responseHead(response) {
  return headSize(`HTTP/1.1 ${response.status} ${response.statusText || 'OK'}`, Object.fromEntries(response.headers));
}

/** The size of both heads of a WebSocket's handshake, none of which a page sees. */
export function handshake(url, protocols = []) {
  const offered = protocols.length ? { 'Sec-WebSocket-Protocol': protocols.join(', ') } : {};
  const sent = headSize(`GET ${url.pathname}${url.search} HTTP/1.1`, {
    ...common(url),
    Connection: 'Upgrade',
    Pragma: 'no-cache',
    'Cache-Control': 'no-cache',
    Upgrade: 'websocket',
    Origin: location.origin,
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'x'.repeat(24),
    'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits',
    ...offered,
  });
  const received = headSize('HTTP/1.1 101 Switching Protocols', {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-accept': 'x'.repeat(28),
    'sec-websocket-extensions': 'permessage-deflate; server_no_context_takeover; client_no_context_takeover',
    'timing-allow-origin': location.origin,
    'access-control-allow-origin': location.origin,
    'access-control-expose-headers': 'ETag, Allow, Preference-Applied, Retry-After, WWW-Authenticate',
    'cross-origin-resource-policy': 'cross-origin',
    date: 'x'.repeat(29),
  });
  return { sent, received };
}

/** The size of a frame from the server, with its header (RFC 6455 §5.2). @param {number} payload its bytes */
export function frame(payload) {
  return payload + (payload < 126 ? 2 : payload < 65_536 ? 4 : 10);
}

/** The size of a chunk of an answer without a length (RFC 9112 §7.1). */
export function chunk(payload) {
  return payload + payload.toString(16).length + 2 * LINE_END;
}

function common(url) {
  return {
    Host: url.host,
    'User-Agent': navigator.userAgent,
    'Accept-Encoding': url.protocol === 'http:' || url.protocol === 'ws:' ? 'gzip, deflate' : 'gzip, deflate, br, zstd',
    'Accept-Language': languages(),
  };
}

// In a secure context Chromium says what it is once more.
function clientHints() {
  const { userAgentData } = navigator;
  if (!userAgentData) return {};
  const brands = userAgentData.brands.map(({ brand, version }) => `"${brand}";v="${version}"`).join(', ');
  return { 'sec-ch-ua': brands, 'sec-ch-ua-mobile': '?0', 'sec-ch-ua-platform': `"${userAgentData.platform}"` };
}

// Each language after the first weighs a tenth less.
function languages() {
  return navigator.languages.map((tag, n) => (n ? `${tag};q=${Math.max(0.1, 1 - n / 10).toFixed(1)}` : tag)).join(',');
}

function headSize(firstLine, headers) {
  const lines = [firstLine, ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)];
  return lines.reduce((sum, line) => sum + line.length + LINE_END, LINE_END);
}
