import type { Publication, Status, TopicEvent, Transport } from "./api.ts";
import type { DuplexError } from "./errors.ts";

/** What is below subscriptions and the outbox: this client's own way to the server, or that of another tab. */
export interface Connection {
  /** Without `waiting`, which is the outbox's. */
  readonly status: Omit<Status, "waiting">;
  /**
   * Gives the events of topics and patterns to the sink, from the cursor `after` on (or `earliest`,
   * or `now`): in the order of the log, each once, across whatever happens to transports.
   */
  read(names: readonly string[], after: string, sink: Sink): Feed;
  /** Tries once; a batch has ids. A refusal is a DuplexError; its code is `unreachable` if nothing was sent. */
  publish(publication: Publication): Promise<string | string[]>;
  /** Whether publish may be called again before it has answered, and the order is kept. */
  pipelines(publication: Publication): boolean;
  /** Changes what may be used, and takes over to the first of them that works. */
  use(transports: readonly Transport[]): void;
  /** Proves within 2 s that the connection works, or makes a new one. `online`: the network has changed. */
  check(online?: boolean): void;
  close(): void;
}

/** Makes a connection, which tells of each change of its status. */
export type OpenConnection = (changed: () => void) => Connection;

/** Who reads. Its methods are called in order, and never after `over` or the feed's `close`. */
export interface Sink {
  /** What is published from now on will be given. Called again after each loss of the connection. */
  placed(): void;
  /** An event, or `$gap`, or the `$end` of a topic. */
  take(event: TopicEvent): void;
  /** Nothing for this sink lies before this cursor that it was not given. */
  moved(cursor: string): void;
  /** Nothing follows: its only topic has ended, or the server refuses for good. */
  over(error?: DuplexError): void;
}

export interface Feed {
  /** Nothing is given until `resume`, which goes on from the last event that was taken. */
  pause(): void;
  resume(): void;
  close(): void;
}
