import type { Transport } from "./api.ts";

/** Milliseconds (PROTOCOL.md §15.3). */
const head = 400;
const rememberedHead = 1000;
const grace = 250;
const limit = 30_000;

/** What a choice asks for. */
export interface Chooser {
  begin(transport: Transport): void;
  drop(transport: Transport): void;
  /** The choice is over: with a transport that works, or without. */
  chosen(transport?: Transport): void;
}

/** One choice among transports, the preferred one first (PROTOCOL.md §15.3). */
export class Choice {
  #transports: readonly Transport[];
  #chooser: Chooser;
  #began = new Set<Transport>(); // all that were begun
  #running = new Set<Transport>(); // those that neither work nor have failed
  #works: Transport | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #limit: ReturnType<typeof setTimeout>;
  #head: number;
  #first: Transport | undefined;
  #over = false;

  /** `first` is the one to begin with, because it worked before. */
  constructor(transports: readonly Transport[], chooser: Chooser, first?: Transport, remembered = false) {
    this.#transports = transports;
    this.#chooser = chooser;
    this.#head = remembered ? rememberedHead : head;
    this.#limit = setTimeout(() => this.stop(), limit);
    this.#first = first && transports.includes(first) ? first : undefined;
  }

  start(): void {
    this.#next(this.#first);
  }

  #next(transport = this.#transports.find((t) => !this.#began.has(t))): void {
    clearTimeout(this.#timer);
    if (this.#over) return;
    if (!transport) {
      if (!this.#running.size) this.stop();
      return;
    }
    this.#began.add(transport);
    this.#running.add(transport);
    this.#timer = setTimeout(() => this.#next(), this.#head);
    this.#head = head;
    this.#chooser.begin(transport);
  }

  /** The transport has given its first signal. */
  works(transport: Transport): void {
    if (!this.#running.delete(transport)) return;
    const other = this.#works;
    const rank = (t: Transport) => this.#transports.indexOf(t);
    const better = !other || rank(transport) < rank(other);
    if (better) this.#works = transport;
    const worse = better ? other : transport;
    if (worse) this.#chooser.drop(worse);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.stop(), grace);
    this.#settle();
  }

  failed(transport: Transport): void {
    if (!this.#running.delete(transport)) return;
    if (this.#works) this.#settle();
    else this.#next();
  }

  /** Nobody preferred is left to wait for. */
  #settle(): void {
    const works = this.#transports.indexOf(this.#works!);
    if (![...this.#running].some((t) => this.#transports.indexOf(t) < works)) this.stop();
  }

  /** Ends the choice with what there is. */
  stop(): void {
    if (this.#over) return;
    this.cancel();
    for (const transport of this.#running) this.#chooser.drop(transport);
    this.#running.clear();
    this.#chooser.chosen(this.#works);
  }

  /** Ends it without a word. */
  cancel(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#limit);
  }
}
