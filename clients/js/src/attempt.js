/** One attempt to read the channels over one transport, from its opening to its end. */

export class Attempt {
  /** When it first delivered. */
  since = 0;
  /** After how many milliseconds the server wants the client back, if it said so. */
  retryMs = 0;
  /** Whether the server ended it on purpose. */
  bye = false;
  #abort = new AbortController();
  #refresh = 0;

  constructor(connection, http, transport) {
    Object.assign(this, { connection, http, transport });
    this.delivered = new Promise((resolve) => (this.onworks = resolve));
    /** Resolves with the reason, or with nothing when it was ended from here to make room. */
    this.ended = new Promise((resolve) => (this.onend = resolve));
  }

  get signal() {
    return this.#abort.signal;
  }

  /** It has delivered: opening alone proves nothing. */
  works() {
    if (this.since || this.signal.aborted) return;
    this.since = Date.now();
    this.http.answered = true;
    this.refreshLater();
    this.connection.works(this);
    this.onworks();
  }

  end(reason) {
    if (this.signal.aborted) return;
    clearTimeout(this.#refresh);
    this.#abort.abort();
    this.onend(reason);
  }

  // A token that expires ends what it opened, unless a fresh one comes first.
  refreshLater() {
    const left = this.http.freshUntil - Date.now();
    if (left < 2 ** 31) this.#refresh = setTimeout(() => this.#renew(), Math.max(left + 10, 1000));
  }

  // Where a fresh token cannot be had now, it is asked for again while the old one lasts.
  async #renew() {
    try {
      await this.refresh();
    } catch (error) {
      if (error.status) this.end(error);
      else if (!this.signal.aborted) this.refreshLater();
    }
  }
}
