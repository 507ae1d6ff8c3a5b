import type { TopicEvent } from "./api.ts";
import { Backoff } from "./backoff.ts";
import { rest, sleep, tired } from "./clock.ts";
import type { Feed, Sink } from "./connection.ts";
import { DuplexError } from "./errors.ts";
import { matches } from "./event.ts";
import { failure, type Http } from "./http.ts";

/** What a reader sees of the connection whose stream it shares with others. */
export interface Shared {
  readonly http: Http;
  /** How far the stream is. */
  readonly cursor: string;
  /** The present stream, with what others have given that it has still to pass. */
  readonly stream: { readonly given: unknown } | undefined;
  /** Whether the stream brings all of these names. */
  carries(names: readonly string[]): boolean;
  left(reader: Reader): void;
}

/** One event of those heard is enough to meet the stream: the newest will do. */
const mostHeard = 1000;

/**
 * One sink of the shared stream. It is *synced* when the stream's place is its own. A reader that
 * joins a stream, was paused, or may have lost something (only it can ask what was its own), gets
 * pages until one of their events has also come by the stream: from there on both are the same.
 * So nobody has to compare ids but for equality.
 */
export class Reader implements Feed {
  readonly names: readonly string[];
  readonly sink: Sink;
  cursor: string;
  synced: boolean;
  /** The stream in which it has found its place: while that is behind others, it takes nothing else. */
  joined: Shared["stream"];
  /** Events of the stream that came while it was not synced, by id, in order. */
  #heard = new Map<string, TopicEvent>();
  #shared: Shared;
  #abort = new AbortController();
  #busy = false;
  #again = false;
  #paused = false;
  #placed = false;

  constructor(shared: Shared, names: readonly string[], after: string, sink: Sink, synced: boolean) {
    this.#shared = shared;
    this.names = names;
    this.cursor = after;
    this.sink = sink;
    this.synced = synced;
  }

  /** The topic, if it is one and no pattern: a subscription to it ends with it. */
  get only(): string | undefined {
    return this.names.length === 1 && !this.names[0]!.includes("*") ? this.names[0] : undefined;
  }

  /** An event of the stream, for whoever it is. */
  event(event: TopicEvent): void {
    if (this.#paused || !matches(this.names, event.topic)) return;
    if (this.synced) return this.#give(event);
    if (!this.#shared.carries(this.names)) return;
    this.#heard.set(event.id, event);
    if (this.#heard.size > mostHeard) this.#heard.delete(this.#heard.keys().next().value!);
    void this.catchUp();
  }

  /** The stream works, again: a reader that is synced has its place. */
  opened(): void {
    if (this.synced) this.#place();
    else this.desync();
  }

  /** The stream is gone. */
  lost(): void {
    this.#placed = false;
  }

  #place(): void {
    if (this.#placed) return;
    this.#placed = true;
    if (this.cursor === "now") this.moved(this.#shared.cursor);
    this.sink.placed();
  }

  /** An event or a signal, for this reader. */
  #give(event: TopicEvent): void {
    this.cursor = event.id;
    this.sink.take(event);
  }

  /** The stream lost something, or its end was told. */
  signal(event: TopicEvent): void {
    this.#give(event);
    if (event.event === "$end" && this.only) this.over();
  }

  /** The stream is at this cursor, and has given all before it. */
  moved(cursor: string): void {
    if (!this.synced) return;
    this.cursor = cursor;
    this.sink.moved(cursor);
  }

  /** Asks for what the stream has not brought. */
  desync(): void {
    this.synced = false;
    this.#heard.clear();
    if (this.#shared.carries(this.names)) void this.catchUp();
  }

  /** Reads pages, and once more if it does so already: what that has not seen may be missing. */
  async catchUp(): Promise<void> {
    this.#again = true;
    if (this.#busy) return;
    this.#busy = true;
    while (this.#again && !this.synced && !this.#stopped) {
      this.#again = false;
      await this.#catchUp();
    }
    this.#busy = false;
  }

  async #catchUp(): Promise<void> {
    const { signal } = this.#abort;
    const backoff = new Backoff();
    for (let empty = 0; ; ) {
      const before = [...this.#heard.keys()];
      let page;
      try {
        page = await this.#shared.http.page(this.names, { after: this.cursor, limit: this.cursor === "now" ? 1 : 1000 }, signal);
      } catch (e) {
        const error = failure(e, signal);
        if (signal.aborted) return;
        if (!error.retryable) return this.over(error);
        await sleep(backoff.next(error), signal);
        continue;
      }
      if (this.#stopped) return;
      backoff.reset();
      if (page.gap) this.#give({ id: this.cursor, topic: "", event: "$gap", data: page.gap });
      for (const event of page.events) {
        if (tired()) await rest();
        if (this.#stopped) return;
        if (this.#heard.has(event.id)) return this.#join(event.id);
        this.#give(event);
      }
      if (this.#stopped) return;
      this.cursor = page.cursor;
      this.sink.moved(page.cursor);
      if (page.end) return this.signal({ id: page.cursor, topic: "", event: "$end", data: { topic: this.only } });
      if (page.more) continue;
      if (this.cursor === this.#shared.cursor) return this.#join();
      // What was heard before is older than the cursor, unless another server answers that knows less.
      if (before.length && ++empty < 4) await sleep(25 * 4 ** empty, signal);
      else for (const id of before) this.#heard.delete(id);
      if (!this.#shared.carries(this.names)) return; // opened follows
      if (!this.#heard.size) return this.#place();
    }
  }

  get #stopped(): boolean {
    return this.#paused || this.#abort.signal.aborted;
  }

  /** From this event on, the stream is the reader's. */
  #join(id?: string): void {
    this.synced = true;
    this.joined = id ? this.#shared.stream : undefined;
    this.#place();
    const heard = [...this.#heard.values()];
    this.#heard.clear();
    if (id) for (const event of heard.slice(heard.findIndex((e) => e.id === id))) this.event(event);
  }

  pause(): void {
    this.#paused = true;
    this.synced = false;
    this.#heard.clear();
  }

  resume(): void {
    this.#paused = false;
    void this.catchUp();
  }

  close(): void {
    this.#abort.abort();
    this.#shared.left(this);
  }

  over(error?: DuplexError): void {
    if (this.#abort.signal.aborted) return;
    this.close();
    this.sink.over(error);
  }
}
