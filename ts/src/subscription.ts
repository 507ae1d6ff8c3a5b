import type { SubscribeOptions, TopicEvent } from "./api.ts";
import { rest, tired } from "./clock.ts";
import type { Connection, Feed, Sink } from "./connection.ts";
import type { DuplexError } from "./errors.ts";

/** An iterable that is not read as fast as events come is paused here, and goes on when it is empty. */
const mostQueued = 1000;

/** A fault of the caller's own code is told to its world, and stops no one else's events. */
function guard(call: () => void): void {
  try {
    call();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** Events of topics and patterns, in order, each once, for as long as it is wanted. */
export class Subscription<T = any> implements AsyncIterable<TopicEvent<T>> {
  /** Where another subscription would go on. */
  cursor: string;
  /** Resolves when what is published from now on will be given; rejects if that is refused. */
  readonly ready: Promise<void>;
  /** Resolves when nothing follows; rejects if the server refuses. */
  readonly over: Promise<void>;
  /** Called when it has its place in the log: at first, and again after each loss of the connection. */
  onplaced: (() => void) | undefined;
  #feed: Feed;
  #queue: TopicEvent<T>[] = [];
  #paused?: boolean;
  #ended?: boolean;
  #error: DuplexError | undefined;
  #wake: (() => void) | undefined;
  #finish: (error?: DuplexError) => void;

  /** @internal */
  constructor(connection: Connection, names: readonly string[], options: SubscribeOptions, callback?: (event: TopicEvent<T>) => void) {
    this.cursor = options.after || "now";
    let ready!: () => void, over!: () => void, refused!: (e: unknown) => void;
    this.over = new Promise((done, no) => ((over = done), (refused = no)));
    this.ready = new Promise((done, no) => ((ready = done), this.over.then(done, no)));
    this.ready.catch(() => {}); // who does not ask is not told
    const sink: Sink = {
      placed: () => {
        ready();
        guard(() => this.onplaced?.());
      },
      take: (event) => {
        if (callback) {
          this.cursor = event.id;
          guard(() => callback(event));
        } else {
          this.#queue.push(event);
          this.#wake?.();
          if (this.#queue.length > mostQueued) this.#feed.pause(), (this.#paused = true);
        }
      },
      moved: (cursor) => {
        if (!this.#queue.length) this.cursor = cursor;
      },
      over: (error) => this.#finish(error),
    };
    const { signal } = options;
    const close = () => this.close();
    this.#finish = (error) => {
      this.#ended = true;
      this.#error = error;
      signal?.removeEventListener("abort", close);
      if (error) refused(error);
      over(); // which it may be
      this.#wake?.();
    };
    this.#feed = connection.read(names, this.cursor, sink);
    if (signal?.aborted) this.close();
    else signal?.addEventListener("abort", close);
  }

  /** Ends it; an iteration that is under way ends, too. */
  close(): void {
    if (this.#ended) return;
    this.#queue = [];
    this.#feed.close();
    this.#finish();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TopicEvent<T>, void, undefined> {
    try {
      for (;;) {
        if (this.#queue.length && tired()) await rest();
        const event = this.#queue.shift();
        if (event) {
          this.cursor = event.id;
          yield event;
        } else if (this.#ended) {
          if (this.#error) throw this.#error;
          return;
        } else {
          if (this.#paused) (this.#paused = false), this.#feed.resume();
          await new Promise<void>((wake) => (this.#wake = wake));
        }
      }
    } finally {
      this.close();
    }
  }
}
