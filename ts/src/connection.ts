import type { Publication, TopicEvent } from "./api.ts";
import type { DuplexError } from "./errors.ts";

/** What is below subscriptions: this client's own way to the server, or that of another tab. */
export interface Connection {
  /**
   * Gives the events of topics and patterns to the sink, from the cursor `after` on (or `earliest`,
   * or `now`): in the order of the log, each once, across whatever happens to transports.
   */
  read(topics: readonly string[], after: string, sink: Sink): Feed;
  /** Tries once. Only the outbox calls it: one publication of a topic at a time. */
  publish(publication: Publication): Promise<string>;
  /** Finds out now whether the connection still works, and makes a new one if not. */
  check(): void;
  close(): void;
}

/** Who reads. Its methods are called in order, and never after `over` or the feed's `close`. */
export interface Sink {
  /** It works: what is published from now on will be given. Called again after each cut. */
  opened(): void;
  /** An event, or `$gap`, or the `$end` of a topic. */
  take(event: TopicEvent): void;
  /** Nothing for this sink lies before this cursor that it was not given. */
  moved(cursor: string): void;
  /** Nothing follows: its only topic has ended, or the server refuses for good. */
  over(error?: DuplexError): void;
}

export interface Feed {
  close(): void;
}
