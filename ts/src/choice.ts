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

/** A choice that goes on. */
export interface Choice {
  start(): void;
  /** The transport has given its first signal. */
  works(transport: Transport): void;
  failed(transport: Transport): void;
  /** Ends the choice with what there is. */
  stop(): void;
  /** Ends it without a word. */
  cancel(): void;
}

/**
 * Chooses among transports, the preferred one first (PROTOCOL.md §15.3). `first` is the one to begin
 * with, for another reason.
 */
export function choose(transports: readonly Transport[], { begin, drop, chosen }: Chooser, first?: Transport, remembered = false): Choice {
  const waiting = new Set(transports); // those that were not begun
  const running = new Set<Transport>(); // those that neither work nor have failed
  const rank = (transport?: Transport): number => transports.indexOf(transport!);
  let works: Transport | undefined;
  let over = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const end = setTimeout(stop, limit);

  function next(transport: Transport | undefined = [...waiting][0], ms: number = head): void {
    clearTimeout(timer);
    if (over) return;
    if (transport) {
      waiting.delete(transport);
      running.add(transport);
      timer = setTimeout(next, ms);
      begin(transport);
    } else if (!running.size) stop();
  }

  /** Over, if nobody who is preferred is left to wait for. */
  function settle(): void {
    if (![...running].some((t) => rank(t) < rank(works))) stop();
  }

  function cancel(): void {
    over = true;
    clearTimeout(timer);
    clearTimeout(end);
  }

  function stop(): void {
    if (over) return;
    cancel();
    running.forEach(drop);
    chosen(works);
  }

  return {
    stop,
    cancel,
    start: () => (waiting.has(first!) ? next(first, remembered ? rememberedHead : head) : next()),
    works(transport) {
      if (over || !running.delete(transport)) return;
      if (works) drop(rank(transport) < rank(works) ? works : transport);
      if (!works || rank(transport) < rank(works)) works = transport;
      clearTimeout(timer);
      timer = setTimeout(stop, grace);
      settle();
    },
    failed(transport) {
      if (over || (!running.delete(transport) && transport !== works)) return;
      if (transport === works) works = undefined; // it did
      works ? settle() : next();
    },
  };
}
