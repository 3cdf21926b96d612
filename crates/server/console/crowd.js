/**
 * How many tabs of this browser have a page open that holds connections. Over HTTP/1.1 a browser opens six to a server; such
 * a page holds two and needs more for a moment, so that from the third on requests wait for each other.
 */

import { say, words } from './words.js';

const MOST = 2;

export class Crowd {
  #node;
  #channel = new BroadcastChannel('sockeye crowd');
  #own = Math.random().toString(36).slice(2);
  #others = new Set();
  #holds = false;

  /** @param {HTMLElement} node where it is told */
  constructor(node) {
    this.#node = node;
    this.#channel.onmessage = ({ data }) => this.#heard(data);
    addEventListener('pagehide', () => this.holds(false));
  }

  /** Whether requests of this page have to be expected to wait. */
  get isTooLarge() {
    return this.#holds && hasFewConnections() && this.#others.size >= MOST;
  }

  /** Says whether this page holds connections from now on. */
  holds(holds) {
    if (holds === this.#holds) return;
    this.#holds = holds;
    this.#others.clear();
    this.#tell({ asks: holds });
    this.#show();
  }

  #heard({ tab, holds, asks }) {
    if (holds) this.#others.add(tab);
    else this.#others.delete(tab);
    if (asks && this.#holds) this.#tell({ asks: false });
    this.#show();
  }

  #tell({ asks }) {
    this.#channel.postMessage({ tab: this.#own, holds: this.#holds, asks });
  }

  #show() {
    this.#node.hidden = !this.isTooLarge;
    say(this.#node, this.isTooLarge ? words.crowded(this.#others.size) : '');
  }
}

/** Whether this page came over HTTP/1.1. Browsers speak HTTP/2 over TLS alone. */
function hasFewConnections() {
  const [navigation] = performance.getEntriesByType('navigation');
  return location.protocol === 'http:' || navigation?.nextHopProtocol === 'http/1.1';
}
