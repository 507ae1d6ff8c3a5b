import type { TopicEvent } from "./api.ts";
import { Backoff } from "./backoff.ts";
import { rest, sleep, tired } from "./clock.ts";
import type { Feed, Sink } from "./connection.ts";
import type { DuplexError } from "./errors.ts";
import { matches, topicOf } from "./event.ts";
import { failure, type Http } from "./http.ts";
import { Seen } from "./seen.ts";

/** What a reader sees of the connection whose stream it shares with others. */
export interface Shared {
  readonly http: Http;
  /** Cursors: after all of them, the present stream brings all of these names. Undefined: it does not. */
  brings(names: readonly string[]): string[] | undefined;
  left(reader: Reader): void;
}

/** How many events of the stream are kept for a reader that is not yet there. */
const mostHeard = 1000;

/**
 * One sink of the shared stream (PROTOCOL.md §15.5). It is *synced* while the stream brings all that it
 * was not given: then it takes what it has not seen. A reader that joins a stream, was paused, or may
 * have lost something (only it can ask what was its own), reads pages until it is as far as the
 * stream was when it began to listen to that.
 */
export class Reader implements Feed {
  readonly names: readonly string[];
  readonly sink: Sink;
  cursor: string;
  synced?: boolean;
  /** Up to where it was given all, and of which ends it was told: pages do not bring all of these. */
  #seen = new Seen();
  #ends = new Seen();
  /** What the stream has brought after these cursors was heard. Undefined: it does not listen. */
  #after: string[] | undefined;
  #heard: TopicEvent[] = [];
  #shared: Shared;
  #abort = new AbortController();
  #busy?: boolean;
  /** Or closed. */
  #paused?: boolean;
  #placed?: boolean;
  /** The stream may still bring what it has seen. */
  #behind?: boolean;
  /** The gap of a page that it was told of last. */
  #told: string | undefined;

  constructor(shared: Shared, names: readonly string[], after: string, sink: Sink) {
    this.#shared = shared;
    this.names = names;
    this.cursor = after; // which may have no place in the log
    this.sink = sink;
  }

  /** The topic, if it is one and no pattern: a subscription to it ends with it. */
  get only(): string | undefined {
    return this.names.length === 1 && !this.names[0]!.includes("*") ? this.names[0] : undefined;
  }

  /** The first stream begins at this cursor. */
  begin(cursor: string): void {
    this.synced = !this.#paused && this.cursor === cursor;
  }

  /** An event of the stream, or the end of a topic, for whoever it is. */
  event(event: TopicEvent): void {
    if (this.#paused || !matches(this.names, topicOf(event))) return;
    if (this.synced) return this.give(event);
    if (!this.#after || this.#heard.push(event) <= mostHeard) return;
    const oldest = this.#heard.shift()!;
    if (oldest.event !== "$end") this.#after[0] = oldest.id;
  }

  /** The stream works, again, or brings more: a reader that is synced has its place. */
  opened(): void {
    if (this.synced) return this.#place();
    if (this.#after || this.#paused) return;
    this.#listen();
    void this.#catchUp();
  }

  #listen(): void {
    this.#heard = [];
    this.#after = this.#shared.brings(this.names);
  }

  /** Another stream has taken over, that began at a cursor. Of epochs that it has not seen it cannot tell what came before. */
  taken(cursor: string): void {
    this.#behind = true;
    this.#after = undefined;
    this.synced &&= !!this.#shared.brings(this.names) && (!this.#seen.size || this.#seen.beyond(cursor) >= 0);
  }

  /** The stream is gone, after it was here. */
  lost(cursor: string): void {
    this.moved(cursor);
    this.#after = undefined;
    this.#placed = false;
  }

  #place(): void {
    if (this.#placed) return;
    this.#placed = true;
    this.sink.placed();
  }

  /** Gives what it has not seen. Of ends, pages do not tell, and may be beyond them. */
  give(event: TopicEvent): void {
    const end = event.event === "$end";
    const news = this.#seen.add(event.id);
    if (news) {
      this.cursor = event.id;
      this.#behind = false;
    }
    if (end ? !this.#ends.add(event.id) : !news) return;
    this.sink.take(end ? { ...event, id: this.cursor } : event);
    if (end && this.only) this.over();
  }

  /** The stream has lost something; false: that may be what others have brought to this reader. */
  gap(event: TopicEvent): boolean {
    if (this.#behind && this.#seen.beyond(event.data.after) > 0) return false;
    if (!(this.#seen.beyond(event.id) > 0)) this.#seen.add((this.cursor = event.id));
    this.sink.take({ ...event, id: this.cursor });
    return true;
  }

  /** The stream is at this cursor, and has given all before it. */
  moved(cursor: string): void {
    if (!this.synced || this.#seen.beyond(cursor) > 0) return;
    this.#behind = false;
    if (!this.#seen.add(cursor)) return;
    this.cursor = cursor;
    this.sink.moved(cursor);
  }

  /** Asks for what the stream has not brought, once it brings the rest. */
  desync(): void {
    this.synced = false;
    this.#after = undefined;
  }

  /** Asks without a stream. */
  ask(): void {
    this.desync();
    if (!this.#paused) this.#after = ["-0"];
    void this.#catchUp();
  }

  /** Reads pages until it is where the stream is. */
  async #catchUp(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    const { signal } = this.#abort;
    const backoff = new Backoff();
    for (let behind = 0; this.#after && !signal.aborted; ) {
      const after = this.#after;
      let page;
      try {
        page = await this.#shared.http.page(this.names, { after: this.cursor, limit: 1000 }, signal);
      } catch (e) {
        const error = failure(e);
        if (!error.retryable) this.over(error);
        if (!signal.aborted) await sleep(backoff.next(error), signal);
        continue;
      }
      backoff.failures = 0;
      // It may be paused by what it is given, or have begun to listen anew, maybe behind a gap: then it asks again.
      const gap = JSON.stringify(page.gap);
      if (gap && gap !== this.#told && this.#after === after) {
        this.#told = gap;
        this.sink.take({ id: this.cursor, topic: "", event: "$gap", data: page.gap });
      }
      for (const event of [...page.events, ...(page.ends ?? [])]) {
        if (tired()) await rest();
        if (this.#after !== after) break;
        this.give(event);
      }
      if (this.#after !== after) continue;
      this.#seen.add((this.cursor = page.cursor));
      this.sink.moved(page.cursor);
      if (page.end) this.give({ id: page.cursor, topic: "", event: "$end", data: { topic: this.only } });
      else if (after.every((cursor) => !cursor || this.#seen.beyond(cursor) >= 0)) this.#join();
      else if (!page.more) {
        // A server that knows less than that of the stream has answered, or one of another epoch.
        await sleep(25 * 4 ** ++behind, signal);
        if (behind > 2 && this.#after) {
          this.#listen();
          behind = 0;
        }
      }
    }
    this.#busy = false;
  }

  /** From here on, the stream is the reader's. */
  #join(): void {
    this.synced = this.#behind = true;
    this.#after = undefined;
    this.#place();
    for (const event of this.#heard.splice(0)) this.event(event);
  }

  pause(): void {
    this.#paused = true;
    this.desync();
  }

  resume(): void {
    this.#paused = false;
    this.opened();
  }

  close(): void {
    this.#abort.abort();
    this.pause();
    this.#shared.left(this);
  }

  over(error?: DuplexError): void {
    if (this.#abort.signal.aborted) return;
    this.close();
    this.sink.over(error);
  }
}
