/** The three transports over plain HTTP: Server-Sent Events, long polls, polls. Each reads its channels one by one. */

import { Attempt } from './attempt.js';
import { about } from './backoff.js';
import { inBrowser } from './runtime.js';
import { ANSWER_WITHIN, sleep, within } from './timers.js';

const PAGE = 1000;
/** Over HTTP/1.1 a browser makes six connections to a server, and the rest of the page needs some, too. Elsewhere there is no such limit. */
const HELD_REQUESTS = inBrowser ? 4 : 64;
/** By those beside `Accept`, which browsers send by themselves, the server knows that it may begin with the position in a block of its own. */
const STREAM_HEADERS = { Accept: 'text/event-stream', ...(!inBrowser && { 'Cache-Control': 'no-cache', Pragma: 'no-cache' }) };
/** How many characters of an event may wait for its end. */
const LONGEST_EVENT = 2 ** 25;
/** A stream that has brought nothing by then is held back on the way. */
const FIRST_WITHIN = 5_000;
/** The server sends a comment every 15 seconds. */
const SILENT = 40_000;
/** Seconds for which the server holds a poll: the first to see whether that gets through, and then. */
const HOLD = { first: 2, then: 25 };

class RequestAttempt extends Attempt {
  #loops = new Map();
  #heardAt = Date.now();

  start() {
    for (const channel of this.connection.channels) this.open(channel);
  }

  async open(channel) {
    const { name } = channel;
    if (this.#loops.has(name)) return;
    const loop = new AbortController();
    this.#loops.set(name, loop);
    const signal = AbortSignal.any([this.signal, loop.signal]);
    try {
      const mayHold = this.#loops.size <= HELD_REQUESTS;
      await (mayHold ? this.listen(channel, signal) : this.poll(channel, signal));
    } catch (error) {
      if (signal.aborted) return;
      if (error.code && [400, 401, 403, 404].includes(error.status)) this.connection.refused(name, error);
      else this.end(error);
    }
  }

  shut(name) {
    this.#loops.get(name)?.abort();
    this.#loops.delete(name);
  }

  heard() {
    this.#heardAt = Date.now();
    this.works();
  }

  async poll(channel, signal) {
    for (;;) {
      const isFull = await this.page(channel, 0, signal);
      if (!isFull) await sleep(about(this.connection.pollInterval), signal);
    }
  }

  /** Polls once, held by the server for `wait` seconds. Gives whether there may be more at once. */
  async page({ name, at }, wait, signal) {
    // A poll that waits counts as listening, one that does not has to say so.
    const query = { after: at ?? 'now', limit: PAGE, ...(wait ? { wait } : { presence: 1 }) };
    const headers = at && !wait ? { 'If-None-Match': `"${at}"` } : {};
    const page = await within(wait * 1000 + ANSWER_WITHIN, this.http.page(name, query, { signal, headers }));
    signal.throwIfAborted();
    this.heard();
    this.connection.tookPage(name, page);
    if (page.retryAfter) this.end({ message: 'The server ended the poll.', retryAfter: page.retryAfter });
    return page.isFull;
  }

  // Begun anew with a fresh token, from the same position.
  refresh() {
    this.end();
  }

  probe() {
    if (Date.now() - this.#heardAt > SILENT / 2) this.end();
  }
}

/** Server-Sent Events over `fetch`, which shows statuses and sends headers as `EventSource` does not. */
export class StreamAttempt extends RequestAttempt {
  async listen(channel, signal) {
    const { name, at } = channel;
    const request = { query: { meta: 1, after: at ?? 'now' }, headers: STREAM_HEADERS, signal };
    const response = await within(FIRST_WITHIN, this.http.fetch(`c/${name}`, request));
    if (!response.headers.get('Content-Type')?.startsWith('text/event-stream')) throw new Error('That is no event stream.');
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const parse = eventParser((event) => this.#event(channel, event));
    for (let patience = FIRST_WITHIN; ; patience = SILENT) {
      const { done, value } = await within(patience, reader.read());
      signal.throwIfAborted();
      if (done) throw new Error('The event stream ended.');
      this.heard();
      parse(value);
    }
  }

  #event(channel, { event, id, data, retry }) {
    if (retry) this.retryMs = Number(retry);
    if (data) this.connection.took(channel.name, event === 'gap' ? { gap: JSON.parse(data) } : JSON.parse(data));
    else if (id) this.connection.stands(channel, id);
  }
}

/** Long polls: the server answers when there is a message. They get through where streams are held back. */
export class LongPollAttempt extends RequestAttempt {
  async listen(channel, signal) {
    let wait = 0;
    for (;;) {
      const isFull = await this.page(channel, wait, signal);
      if (!isFull) wait = wait ? Math.round(about(HOLD.then)) : HOLD.first;
    }
  }
}

/** Polls at intervals: what is left when nothing else gets through. */
export class PollAttempt extends RequestAttempt {
  listen(channel, signal) {
    return this.poll(channel, signal);
  }
}

/** A parser of event streams, fed piece by piece (WHATWG HTML §9.2.6). */
export function eventParser(dispatch) {
  let [rest, event, length, isCut] = ['', {}, 0, false];
  return (text) => {
    if ((length += text.length) > LONGEST_EVENT) throw new Error('An event is too long.');
    rest += text;
    const hasEnd = isCut || /[\r\n]/.test(text);
    // A CR at the very end may be half the end of a line.
    isCut = text.endsWith('\r');
    if (!hasEnd) return;
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      const [, field, value = ''] = /^([^:]*)(?:: ?([^]*))?$/.exec(line);
      if (!line) {
        dispatch(event);
        event = {};
        length = rest.length;
      } else if (field === 'data' && 'data' in event) event.data += `\n${value}`;
      else event[field] = value;
    }
  };
}
