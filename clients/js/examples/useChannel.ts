/**
 * A channel in a React component, in its order, with the gaps told. Copy it into your project.
 *
 *     const { messages, state } = useChannel<Line>(sockeye, 'chat', { after: '-50' });
 */

import { useEffect, useState, useSyncExternalStore } from 'react';
import type { Gap, Message, Problem, Sockeye, State } from 'sockeye-client';

/** How many messages a component keeps. */
const KEPT = 1000;

export interface Channel<Data> {
  messages: readonly Message<Data>[];
  /** The last gap, if messages are missing: what a component has derived from them may be wrong. */
  gap: Gap | null;
  /** Why the server does not give this channel. */
  problem: Problem | null;
  state: State;
}

/** The messages of a channel. The client is made once, outside of components: every hook shares its connection. */
export function useChannel<Data = unknown>(sockeye: Sockeye, channel: string, { after = 'now' }: { after?: string } = {}): Channel<Data> {
  const nothing = { messages: [] as Message<Data>[], gap: null as Gap | null, problem: null as Problem | null };
  const [seen, setSeen] = useState(nothing);

  useEffect(() => {
    setSeen(nothing);
    const subscription = sockeye.subscribe<Data>(channel, {
      after,
      onmessage: (message) => setSeen((seen) => ({ ...seen, messages: [...seen.messages, message].slice(-KEPT) })),
      ongap: (gap) => setSeen((seen) => ({ ...seen, gap })),
      onerror: (problem) => setSeen((seen) => ({ ...seen, problem })),
    });
    return () => subscription.close();
  }, [sockeye, channel, after]);

  return { ...seen, state: useConnectionState(sockeye) };
}

/** `live`, `waiting` and so on: what an application shows of its connection. */
export function useConnectionState(sockeye: Sockeye): State {
  const watch = (changed: () => void) => {
    sockeye.addEventListener('state', changed);
    return () => sockeye.removeEventListener('state', changed);
  };
  return useSyncExternalStore(watch, () => sockeye.state, () => 'idle' as const);
}
