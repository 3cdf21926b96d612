/** A page that uses the browser client, and what it has seen. */

import assert from 'node:assert/strict';
import { browser, serverUrl } from './browser.mjs';

export class ClientPage {
  /** Opens a page of `base` with a client. @param {{base?: string, context?: object, options?: object}} how */
  static async open({ base = serverUrl, context, options = {} } = {}) {
    const client = new ClientPage();
    client.context = context ?? (await browser.newContext());
    client.page = await client.context.newPage();
    // Any document of the server will do.
    await client.page.goto(`${base}/favicon.svg`);
    await client.page.evaluate(async (options) => {
      const { Sockeye } = await import('/sockeye.js');
      window.seen = { items: [], states: [], errors: [] };
      window.sockeye = new Sockeye(undefined, options);
      const note = () => window.seen.states.push(sockeye.transport ?? sockeye.state);
      window.sockeye.addEventListener('state', note);
    }, options);
    return client;
  }

  /** Subscribes, and waits until it is known where that begins. */
  async subscribe(channel, options = {}) {
    await this.page.evaluate(async ([channel, options]) => {
      const { items, errors } = window.seen;
      window.subscription = window.sockeye.subscribe(channel, {
        ...options,
        onmessage: ({ data, event, at }) => items.push({ data: ArrayBuffer.isView(data) ? [...data] : data, at, ...(event && { event }) }),
        ongap: (gap) => items.push({ gap }),
        onjoin: ({ id }) => items.push({ join: id }),
        onleave: ({ id }) => items.push({ leave: id }),
        onerror: ({ code }) => errors.push(code),
      });
      await window.subscription.ready;
    }, [channel, options]);
  }

  publish(channel, data, options) {
    return this.page.evaluate((args) => window.sockeye.publish(...args), [channel, data, options]);
  }

  /** Waits until a transport works. */
  uses(transport) {
    return this.page.waitForFunction((transport) => window.sockeye.transport === transport, transport);
  }

  /** Waits until this was received. */
  sees(data) {
    return this.page.waitForFunction((data) => window.seen.items.some((item) => item.data === data), data);
  }

  /** The payloads it was given, in order. */
  async received() {
    return (await this.items()).map((item) => item.data);
  }

  /** Everything it was given, in order. */
  items() {
    return this.page.evaluate(() => window.seen.items);
  }

  /** The states it went through: the transport while there is one. */
  states() {
    return this.page.evaluate(() => window.seen.states);
  }

  async leave() {
    await this.context.close();
  }
}

/** Publishes numbered texts, without a browser. */
export async function publishAll(channel, texts) {
  for (const body of texts) {
    const response = await fetch(`${serverUrl}/c/${channel}`, { method: 'POST', body, signal: AbortSignal.timeout(20_000) });
    assert.equal(response.status, 201);
    await response.arrayBuffer();
  }
}

/** `from`, …, `to` as texts. */
export function numbers(from, to) {
  return Array.from({ length: to - from + 1 }, (_, n) => `${from + n}`);
}
