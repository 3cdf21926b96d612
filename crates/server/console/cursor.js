/**
 * Where a reader stands in a channel whose frames carry no positions.
 *
 * A poll tells a position; a plain WebSocket tells none. So the cursor keeps the last position that was told and counts
 * the frames since. After a drop the page polls again from that position and leaves out as many messages as came as
 * frames: nothing is lost, nothing is shown twice, and a gap is a gap only if it reaches past what was seen.
 *
 * @typedef {{at: string, ts: number, data?: unknown, b64?: string, event?: string}} Message
 * @typedef {{after: string, next: string, why: 'expired' | 'slow' | 'reset'}} Gap
 * @typedef {{at: string, messages: Message[], gap?: Gap}} Page
 */

export class Cursor {
  #at;
  #frames = 0;

  /** @param {string} at the position a poll told */
  constructor(at) {
    this.#at = at;
  }

  /** The last position that was told. */
  get at() {
    return this.#at;
  }

  /** How many frames came since. */
  get frames() {
    return this.#frames;
  }

  /** A frame came. */
  frame() {
    this.#frames += 1;
  }

  /**
   * Goes on to the end of a page polled after `at`.
   * @param {Page} page
   * @returns {{fresh: Message[], gap: Gap | null}} what was not seen yet
   */
  advance(page) {
    return page.gap ? this.#advanceOverGap(page, page.gap) : this.#advanceInOrder(page);
  }

  /**
   * Turns frames into a position while the socket is open: the page was polled after `at` and limited to the frames that
   * had come, so nothing in it is new. Keeps `at` young, well within the history the server keeps.
   * @param {Page} page
   */
  settle(page) {
    if (page.gap || page.messages.length > this.#frames) return;
    this.#at = page.at;
    this.#frames -= page.messages.length;
  }

  #advanceInOrder({ at, messages }) {
    const seen = Math.min(this.#frames, messages.length);
    this.#at = at;
    this.#frames = messages.length === 0 ? 0 : this.#frames - seen;
    return { fresh: messages.slice(seen), gap: null };
  }

  // The front of what was seen is gone from the history, so counting from `at` no longer works. Within an epoch offsets
  // rise by one with each message, which gives the position of the last frame.
  #advanceOverGap({ at, messages }, gap) {
    const stood = parse(this.#at);
    const end = parse(at);
    this.#at = at;
    if (parse(gap.next).epoch !== stood.epoch) {
      this.#frames = 0;
      return { fresh: messages, gap };
    }
    const last = stood.offset + this.#frames;
    this.#frames = Math.max(0, last - end.offset);
    return {
      fresh: messages.filter((message) => parse(message.at).offset > last),
      gap: parse(gap.next).offset > last ? gap : null,
    };
  }
}

/** @param {string} position `<epoch>.<offset>` */
function parse(position) {
  const dot = position.lastIndexOf('.');
  return { epoch: position.slice(0, dot), offset: Number(position.slice(dot + 1)) };
}
