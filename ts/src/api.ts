import type { Connection, OpenConnection } from "./connection.ts";
import type { DuplexError } from "./errors.ts";

/** An event of a topic, or a signal about the subscription (PROTOCOL.md §3, §6). */
export interface TopicEvent<T = any> {
  /** Where to go on: `subscribe(topic, { after: id })` gives what follows. Opaque. */
  id: string;
  /** The topic it was published to. Signals have none. */
  topic: string;
  /**
   * Its type, `message` unless it was published with another one. Two are signals:
   * `$gap`: events after `data.after` are gone, the next one is `data.oldest`; more may be missing up to `data.to`.
   * `$end`: the topic `data.topic` has ended.
   */
  event: string;
  /** The JSON value, the text, or the bytes as a Uint8Array (then `binary` is true). */
  data: T;
  /** The media type, if it says more than JSON or plain text. */
  media?: string;
  binary?: true;
  /** When the server stored it, RFC 3339. Signals have none. */
  time?: string;
}

/** A page of what is kept (PROTOCOL.md §5.4). */
export interface Page<T = any> {
  events: TopicEvent<T>[];
  /** Where to go on, with `after`. */
  cursor: string;
  /** Whether there is more after the cursor already. */
  more: boolean;
  /** Events after the cursor that was asked for are gone. */
  gap?: Gap;
  /** The topic has ended, and this is its last page. */
  end?: true;
  /** Of several topics: those that have ended meanwhile, each as a `$end`. */
  ends?: TopicEvent[];
}

export interface Gap {
  after: string;
  /** The oldest event that is left, if one is. */
  oldest?: string;
}

/** Who is on a topic (PROTOCOL.md §14). */
export interface Member {
  member: string;
  verified: boolean;
}

/**
 * From the one that is preferred to the one that always gets through. `webtransport` is used by who
 * names it in `transports`, has no token, and has HTTP/3 to the server.
 */
export type Transport = "websocket" | "webtransport" | "sse" | "stream" | "longpoll" | "poll";

export interface Options {
  /** Sent as a bearer token with every request and handshake, never in a URL. */
  token?: string;
  /** Asked for a token before each connection, instead of `token`. */
  getToken?: () => string | undefined | Promise<string | undefined>;
  /** The transports that may be used, the preferred one first. Default: all but `webtransport`. */
  transports?: Transport[];
  /** Who this client is, for presence (PROTOCOL.md §14.1). */
  member?: string;
  /** How many publishes may wait for the server. More are refused. Default 1000. */
  outbox?: number;
  /** Keeps publishes over reloads of the page. Default: in memory only. */
  store?: OutboxStore;
  /** Takes the place of the global `fetch`. */
  fetch?: typeof fetch;
  /** Takes the place of the global `WebSocket`; null: there is none. */
  WebSocket?: typeof WebSocket | null;
  /** @internal Puts something between the client and a connection of its own. */
  between?: (own: OpenConnection, changed: () => void) => Connection;
}

export interface SubscribeOptions {
  /** Where to begin: an id, `earliest`, or `now`, which is the default. */
  after?: string;
  /** Ends the subscription. */
  signal?: AbortSignal;
}

export interface PublishOptions {
  /** The event's type. Default `message`. */
  event?: string;
  /** The idempotency key, so that other clients may repeat this publish. Default: a random one. */
  key?: string;
  /** The media type. Default: `text/plain`, `application/octet-stream` or `application/json`. */
  media?: string;
  /** Gives up: takes the publish out of the outbox, if it is not on its way already. */
  signal?: AbortSignal;
}

export interface HistoryOptions {
  /** Where the page begins. Default: the newest page. */
  after?: string;
  /** How many events at most, up to 1000. Default 100. */
  limit?: number;
  signal?: AbortSignal;
}

/** How the client is connected. Never changed: each change makes a new one. */
export interface Status {
  /**
   * `idle`: nothing is subscribed (any more, for some seconds; if the server has refused, `error` says why).
   * `connecting`, `connected`, `waiting` (to connect again), `closed`.
   */
  readonly state: "idle" | "connecting" | "connected" | "waiting" | "closed";
  /** What carries the events while it is `connected`. */
  readonly transport?: Transport;
  /** The version of HTTP below it, as `h2`: of a WebSocket or a session as the server sees it, else where the runtime tells. */
  readonly version?: string;
  /** Milliseconds from a question to its answer, when last measured. */
  readonly latency?: number;
  /** Why other transports were not taken, or were lost, by their name. */
  readonly failed: Readonly<Partial<Record<Transport, string>>>;
  /** Why it is `waiting`, or `idle` again. */
  readonly error?: DuplexError;
  /** How many publishes wait in the outbox. */
  readonly waiting: number;
}

/** A publish as it waits in the outbox. */
export interface Publication {
  /** The idempotency key, which makes it harmless to repeat. */
  key: string;
  topic: string;
  event?: string;
  media: string;
  /** Text, JSON as text, or bytes. */
  data: string | Uint8Array<ArrayBuffer>;
  /** When it was first sent with an unknown outcome, in milliseconds since 1970. */
  sent?: number;
  /** A message was too long for the server, which refuses a POST alone. */
  post?: true;
  /** It is several, as lines (PROTOCOL.md §7.3). */
  batch?: true;
}

/** Keeps publications over reloads. */
export interface OutboxStore {
  /** What is kept, in the order in which it was first put. It is asked at the start, and again with each connection. */
  load(): Promise<Publication[]>;
  /** Keeps a publication, or changes the one with its key. */
  put(publication: Publication): Promise<void>;
  remove(key: string): Promise<void>;
  /** The client is closed: others may have what it has left. */
  close?(): void;
}
