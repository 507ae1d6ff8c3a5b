import type { TopicEvent, Transport } from "./api.ts";
import { now } from "./clock.ts";
import { DuplexError } from "./errors.ts";
import type { Http } from "./http.ts";
import type { Open, Receiver, Stream } from "./transport.ts";

/** Who owns attempts. */
export interface Owner {
  readonly http: Http;
  /** How far the events are, that were given to readers. */
  readonly cursor: string;
  message(attempt: Attempt, event: TopicEvent): void;
  answered(attempt: Attempt, ms: number): void;
  lost(attempt: Attempt, error: DuplexError): void;
}

/** A timer that fires so much later, in ms, was held up by a page that slept or was throttled. */
const late = 1000;
/** A stream that takes longer than so many events to begin, begins again. */
const mostGiven = 10_000;
/** Milliseconds to answer a check (PROTOCOL.md §15.6). */
const patience = 2000;

/** One stream: from the moment when it is begun, maybe beside others, to its end. */
export class Attempt implements Receiver {
  readonly transport: Transport;
  /** What it brings. */
  readonly names: Set<string>;
  /**
   * What others have given to readers since this one's cursor; undefined once this one is past
   * all that (PROTOCOL.md §15.5): with the first event that they have not given, although they brought
   * its topic.
   */
  given: Set<string> | undefined;
  /** What those others bring. */
  readonly beside: Set<string>;
  /** When its first signal came, by the clock that nobody sets; 0: not yet. */
  worked = 0;
  stream!: Stream;
  #after!: string;
  #owner: Owner;
  #open: Open;
  #over = false;
  #interval = 25; // seconds
  #heard = 0;
  #due = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(owner: Owner, transport: Transport, open: Open, names: Set<string>, alone: boolean, beside: Set<string> = names) {
    this.#owner = owner;
    this.transport = transport;
    this.#open = open;
    this.names = names;
    this.beside = new Set(beside); // either may change
    this.given = alone ? undefined : new Set();
    this.#begin();
  }

  #begin(): void {
    this.#after = this.#owner.cursor;
    this.given?.clear();
    this.stream = this.#open(this.#owner.http, [...this.names], this.#after, this);
  }

  /** Others have given this event. */
  gave(id: string): void {
    if ((this.given ??= new Set()).add(id).size > mostGiven && !this.worked) {
      this.stream.close();
      this.#begin();
    }
  }

  message(event: TopicEvent): void {
    if (this.#over) return;
    if (!this.worked) {
      const { cursor } = this.#owner;
      if (this.#after === "now" && cursor !== "now" && cursor !== event.id) {
        // Another one has begun at its own "now", and that counts.
        this.stream.close();
        return this.#begin();
      }
      this.worked = this.#heard = now();
      this.#watch();
    }
    const { interval = this.#interval } = event.event === "$ping" ? event.data : {};
    if (interval !== this.#interval) {
      this.#interval = interval;
      this.#watch();
    }
    this.#owner.message(this, event);
  }

  heard(): void {
    this.#heard = now();
  }

  /** How long it may be silent, in ms. */
  get #patience(): number {
    return this.#interval * 1500;
  }

  #watch(ms: number = this.#patience): void {
    this.#due = now() + ms;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), ms);
  }

  #look(): void {
    const time = now();
    const left = this.#heard + this.#patience - time;
    if (left > 0) return this.#watch(left);
    // What came while the page slept may still have to be read.
    if (time - this.#due > late) return this.check();
    this.lost(new DuplexError("silent", "silent"));
  }

  /** Gives it 2 s to show that it works. */
  check(): void {
    const asked = now();
    this.stream.ping?.();
    this.#due = asked + patience;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => (this.#heard < asked ? this.lost(new DuplexError("cut", "no answer")) : this.#look()), patience);
  }

  answered(ms: number): void {
    if (!this.#over) this.#owner.answered(this, ms);
  }

  lost(error: DuplexError): void {
    if (this.#over) return;
    this.close();
    this.#owner.lost(this, error);
  }

  close(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.stream?.close();
  }
}
