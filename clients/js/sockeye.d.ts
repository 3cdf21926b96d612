/** Types of `sockeye.js`, the JavaScript client of Sockeye: for pages, their workers, Node, Bun and Deno. */

/** Where a reader stands in a channel: `<epoch>.<offset>`, the same on every transport. */
export type Position = string;

/**
 * The transports, best first, by the words that the server and the command line have for them: `v1` (a WebSocket that speaks
 * `sockeye.v1`), `sse` (Server-Sent Events), `longpoll`, `poll`.
 */
export type Transport = 'v1' | 'sse' | 'longpoll' | 'poll';

/** `idle`: there is no subscription. `waiting`: until `retryAt`, then it connects again. */
export type State = 'idle' | 'connecting' | 'live' | 'waiting' | 'closed';

/** A message of a channel. */
export interface Message<Data = unknown> {
  channel: string;
  at: Position;
  /** When the server took it: milliseconds since 1970. */
  ts: number;
  /** What was published: text as a string, bytes as a `Uint8Array`, JSON as it is. */
  data: Data;
  /** The event's name, if it has one. */
  event?: string;
}

/** Messages are missing between `after` and `next`. */
export interface Gap {
  channel: string;
  after: Position;
  next: Position;
  /** `expired`: no longer kept. `slow`: the reader could not follow. `reset`: the history was deleted or lost. */
  why: 'expired' | 'slow' | 'reset';
}

/** A subscriber of a channel. */
export interface Member {
  id: string;
  since: number;
}

/** What the server, or the network, said instead of what was asked for. */
export interface Problem extends Error {
  /**
   * `forbidden`, `unauthorized`, `too_large`, …; none when there was no answer. `bad_origin`: there was no answer, and it may be that
   * the server does not let pages of this origin use it; the message says what to do.
   */
  code?: string;
  /** The HTTP status, if there was one. */
  status?: number;
}

export interface Options {
  /**
   * The access token, or what gets one: it is called again before a token expires and when one is refused. A token is
   * sent as `Authorization` or in a message, never in a URL.
   */
  token?: string | (() => string | Promise<string>);
  /**
   * Whether the browser's tabs and workers share one connection. Default: yes in a browser, unless there is a `token`; no elsewhere.
   * With tokens give a string that names the user, so that only tabs of the same user share.
   */
  share?: boolean | string;
  /**
   * The transports that may be used, best first. Default: all four, without `v1` where the runtime has no WebSocket. `websocket` is an earlier
   * word for `v1`.
   */
  transports?: (Transport | 'websocket')[];
  /**
   * The constructor of WebSockets. Default: the global one, which browsers, Bun, Deno and Node 22 have. For Node 20 it may be the one of
   * the package `ws`.
   */
  WebSocket?: new (url: URL, protocols: string[]) => object;
  /** What makes requests. Default: the global `fetch`. One of your own may take a proxy or trust another certificate. */
  fetch?: (url: URL, init: RequestInit) => Promise<Response>;
  /** Milliseconds between polls, when nothing better works. Default: 5000. */
  pollInterval?: number;
  /** The id that other members see where there are no tokens. */
  as?: string;
}

export interface SubscribeOptions<Data = unknown> {
  /**
   * Where to begin: a position, `now` (the default), `earliest`, `-50` (the last fifty) or `10m` (the last ten minutes).
   */
  after?: Position | string;
  /** Asks for `onjoin` and `onleave`, which come while the transport is a WebSocket. */
  presence?: boolean;
  onmessage?(message: Message<Data>): void;
  /** Messages are missing here. It comes where they would have come. */
  ongap?(gap: Gap): void;
  /** The channel has ended: everything of it was given, and the subscription is closed. Iterating over it ends, too. */
  onend?(end: { channel: string; at: Position }): void;
  onjoin?(member: Member): void;
  onleave?(member: Member): void;
  /**
   * The server does not give this channel; the subscription is closed. With `bad_origin` it stays open and goes on trying,
   * more and more rarely. A network that fails is not an error.
   */
  onerror?(problem: Problem): void;
}

/**
 * One reader of one channel. Iterated over, it gives messages and gaps in order; closing it ends that. Without callbacks what comes
 * before that waits for it.
 */
export interface Subscription<Data = unknown> extends AsyncIterable<(Message<Data> & { gap?: undefined }) | { gap: Gap }> {
  readonly channel: string;
  /** The position of the last message it was given; keep it to go on from there another time. */
  readonly at: Position | null;
  /** Resolves when it is known where the subscription begins: whatever is published after that comes. */
  readonly ready: Promise<Position>;
  close(): void;
}

export interface PublishOptions {
  /** The event's name: 1 to 64 visible ASCII characters. */
  event?: string;
  /** Publications with the same key are one. Default: a new key, so that a retry is not a repeat. */
  key?: string;
  signal?: AbortSignal;
}

/** A page of a channel's history. */
export interface Page<Data = unknown> {
  /** Where to go on. */
  at: Position;
  messages: Message<Data>[];
  /** Whether the channel has ended, and nothing follows. */
  end?: true;
  gap?: Omit<Gap, 'channel'>;
}

/** A server, and the channels on it that a page or a program uses. Fires `state` when `state` or `transport` changes. */
export class Sockeye extends EventTarget {
  /**
   * @param url where the server is. Default: where this module comes from, if that is a server's `/sockeye.js`.
   * @throws {TypeError} without a URL in a bundle, a package or a runtime without pages, where it cannot be known; for a
   *   transport that there is not, or none that can be used here
   */
  constructor(url?: string | URL, options?: Options);
  readonly state: State;
  /** The transport that works, while `state` is `live`. */
  readonly transport: Transport | null;
  /** When it connects again, in milliseconds since 1970, while `state` is `waiting`. */
  readonly retryAt: number;
  /** Why the last attempt ended, while `state` is `waiting`. With `code: 'bad_origin'` the server may not allow this page. */
  readonly error: { message: string; code?: string; status?: number } | null;
  /** Reads a channel. It reconnects by itself, continues where it was, and reports gaps. */
  subscribe<Data = unknown>(channel: string, options?: SubscribeOptions<Data>): Subscription<Data>;
  /**
   * Publishes text (a string), bytes (`ArrayBuffer` or a view) or JSON (all else). Gives the position once the server has
   * taken it; tries again while it may help.
   * @throws {Problem} when the server refuses, or cannot be reached for long
   */
  publish(channel: string, data: unknown, options?: PublishOptions): Promise<Position>;
  /** Reads a page of a channel's history, at most `limit` (1000) messages. */
  read<Data = unknown>(
    channel: string,
    options?: { after?: Position | string; limit?: number; signal?: AbortSignal },
  ): Promise<Page<Data>>;
  /**
   * The members present on a channel, on any transport: the first `limit` (1000) members whose ids come after `after`. `next` is the
   * `after` of the next page, if there is one.
   */
  presence(
    channel: string,
    options?: { after?: string; limit?: number; signal?: AbortSignal },
  ): Promise<{ count: number; members: Member[]; next?: string }>;
  /** Connects now, if it was waiting to. */
  retry(): void;
  /** Ends every subscription and the connection. Nothing of it keeps a process running after that. */
  close(): void;
}
