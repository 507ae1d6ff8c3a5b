import type { DuplexError } from "./errors.ts";

/** How long to wait after failures in a row, in milliseconds (PROTOCOL.md §15.6). */
export class Backoff {
  failures = 0;

  next(error?: DuplexError): number {
    const asked = Math.min(error?.retryAfter ?? 0, 3600_000);
    const most = asked * 1.5 || Math.min(1500 * 2 ** this.failures, 30_000);
    const least = asked || (this.failures && most / 2);
    this.failures++;
    return least + Math.random() * (most - least);
  }
}
