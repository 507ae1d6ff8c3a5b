import type { Transport } from "./api.ts";

/** Milliseconds (PROTOCOL.md §15.3). */
const stagger = 400;
const rememberedStagger = 1000;
const grace = 250;
const choiceLimit = 30_000;

/** What a choice wants done next. Without any of these it is over, and nothing works. */
export interface Move {
  /** Begins a transport, and asks again. */
  begin?: Transport;
  /** The choice is made. */
  adopt?: Transport;
  /** When to ask again, if nothing happens before. */
  wake?: number;
}

/**
 * One attempt to find a transport that works, the preferred one first (PROTOCOL.md §15.3). It is told
 * what happens and when, by any clock in milliseconds, and says what to do.
 */
export class Choice {
  /** In order of preference. */
  #allowed: readonly Transport[];
  /** In which they are begun; so many were. */
  #order: Transport[];
  #begun = 0;
  #running = new Set<Transport>();
  #working = new Set<Transport>();
  /** When the first that works has begun to. */
  #worked = 0;
  /** When the next one is begun, if the one before has not failed. */
  #due: number;
  #until: number;

  /** `first` is one to begin with although others are preferred, and is given more time if it worked before. */
  constructor(allowed: readonly Transport[], now: number, first?: Transport, remembered?: boolean) {
    this.#allowed = allowed;
    this.#order = [...allowed].sort((a, b) => +(b === first) - +(a === first));
    this.#due = now + (remembered && this.#order[0] === first ? rememberedStagger : stagger);
    this.#until = now + choiceLimit;
  }

  next(now: number): Move {
    const best = this.#allowed.findIndex((t) => this.#working.has(t));
    if (best >= 0) {
      const wake = Math.min(this.#worked + grace, this.#until);
      const better = this.#allowed.slice(0, best).some((t) => this.#running.has(t));
      return better && now < wake ? { wake } : { adopt: this.#allowed[best] };
    }
    const begin = this.#order[this.#begun];
    if (now >= this.#until || (!begin && !this.#running.size)) return {};
    if (!begin) return { wake: this.#until };
    if (this.#running.has(this.#order[this.#begun - 1]!) && now < this.#due) return { wake: this.#due };
    if (this.#begun++) this.#due = now + stagger;
    this.#running.add(begin);
    return { begin };
  }

  /** The transport has given its first signal. */
  works(transport: Transport, now: number): void {
    if (!this.#working.size) this.#worked = now;
    this.#running.delete(transport);
    this.#working.add(transport);
  }

  failed(transport: Transport): void {
    this.#running.delete(transport);
    this.#working.delete(transport);
  }

  /** Takes what there is. */
  stop(): void {
    this.#until = 0;
  }
}
