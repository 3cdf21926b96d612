/**
 * A channel as a store, by the contract of Svelte: `$messages` in a component of Svelte is its value, and whatever else
 * subscribes to stores can use it. It reads the channel while the store has a subscriber. Copy it into your project.
 *
 *     const messages = channelStore<Line>(sockeye, 'chat', { after: '-50' });
 */

import type { Gap, Message, Sockeye } from 'sockeye-client';

export interface Seen<Data> {
  messages: readonly Message<Data>[];
  /** The last gap, if messages are missing. */
  gap: Gap | null;
}

export interface ChannelStore<Data> {
  subscribe(run: (value: Seen<Data>) => void): () => void;
  publish(data: Data): Promise<string>;
}

export function channelStore<Data = unknown>(sockeye: Sockeye, channel: string, { after = 'now', kept = 1000 } = {}): ChannelStore<Data> {
  const watchers = new Set<{ run: (value: Seen<Data>) => void }>();
  let value: Seen<Data> = { messages: [], gap: null };
  let reading: { readonly at: string | null; close(): void } | null = null;
  let at = after;

  const set = (change: Partial<Seen<Data>>) => {
    value = { ...value, ...change };
    for (const { run } of watchers) run(value);
  };
  const read = () =>
    sockeye.subscribe<Data>(channel, {
      after: at,
      onmessage: (message) => set({ messages: [...value.messages, message].slice(-kept) }),
      ongap: (gap) => set({ gap }),
    });

  return {
    subscribe(run) {
      const watcher = { run };
      watchers.add(watcher);
      run(value);
      reading ??= read();
      return () => {
        watchers.delete(watcher);
        if (watchers.size || !reading) return;
        // It goes on from there with the next subscriber.
        at = reading.at ?? at;
        reading.close();
        reading = null;
      };
    },
    publish: (data) => sockeye.publish(channel, data),
  };
}
