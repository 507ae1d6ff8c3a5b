import type { TopicEvent, Transport } from "./api.ts";
import { now } from "./clock.ts";
import { DuplexError } from "./errors.ts";
import type { Http } from "./http.ts";
import { Seen } from "./seen.ts";
import type { Open, Receiver, Stream } from "./transport.ts";

/** Who owns links. */
export interface Owner {
  readonly http: Http;
  message(link: Link, event: TopicEvent): void;
  answered(link: Link, ms: number): void;
  lost(link: Link, error: DuplexError): void;
}

/** A timer that fires so much later, in ms, was held up by a page that slept or was throttled. */
const late = 1000;
/** Milliseconds to answer a check (PROTOCOL.md §15.6). */
const checkLimit = 2000;

/** One stream by one transport: from the moment when it is begun, maybe beside others, to its end. */
export class Link implements Receiver {
  readonly transport: Transport;
  /** Where it has begun. */
  readonly after: string;
  /** What it was asked to bring; true: it does. */
  readonly names: Map<string, unknown>;
  /** After this cursor it brings what it was asked to later, and what was not lost to it. */
  place = "";
  #reached = new Seen();
  /** What has come before it was chosen. */
  held: TopicEvent[] = [];
  /** When its first signal came, by the clock that nobody sets; 0: not yet. */
  worked = 0;
  /** Of HTTP, as the server has said it. */
  version: string | undefined;
  readonly stream: Stream;
  #owner: Owner;
  #over?: boolean;
  /** How long it may be silent, in ms. Before the server has said it, 1.5 times what most do. */
  #patience = 0;
  #heard = 0;
  #due = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(owner: Owner, transport: Transport, open: Open, names: Set<string>, after: string) {
    this.#owner = owner;
    this.transport = transport;
    this.names = new Map([...names].map((name) => [name, true]));
    this.after = after;
    this.stream = open(owner.http, [...names], after, this);
  }

  /** It brings nothing of some name before this cursor. */
  skips(cursor: string): void {
    if (this.#reached.add(cursor)) this.place = cursor;
  }

  message(event: TopicEvent): void {
    if (this.#over) return;
    if (!this.worked) this.worked = this.#heard = now();
    const patience = event.event === "$ping" ? event.data.interval * 1500 : this.#patience || 37_500;
    if (patience !== this.#patience) {
      this.#patience = patience;
      this.#watch();
    }
    this.#owner.message(this, event);
  }

  heard(): void {
    this.#heard = now();
  }

  #watch(ms: number = this.#patience, asked: number = 0): void {
    this.#due = now() + ms;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => (this.#heard < asked ? this.lost(new DuplexError("cut", "no answer")) : this.#look()), ms);
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
    this.#watch(checkLimit, now());
    this.stream.ping?.();
  }

  answered(ms: number, version?: string): void {
    this.version = version;
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
