import type { Member, Options } from "./api.ts";
import type { CheckOptions, CheckReport } from "./checked.ts";
import { Client } from "./client.ts";
import { indexedDBStore } from "./idb.ts";
import { presence } from "./presence.ts";
import { share } from "./tabs.ts";

export interface DuplexOptions extends Options {
  /**
   * Tabs of one browser share one connection, that of the one whose token counts. A string separates
   * those who must not share, as the users of a site. Default: each client has its own.
   */
  shared?: boolean | string;
  /**
   * Keeps publishes in IndexedDB until the server has them, over reloads and the browser's end. A
   * string separates those whose publishes others must not send. Default: in memory only.
   */
  persist?: boolean | string;
}

/** A client that can also share its connection with other tabs, tell who is there, and what a network lets through. */
export class Duplex extends Client {
  constructor(url: string | URL, options: DuplexOptions = {}) {
    const { shared, persist, member, transports } = options;
    const name = (...what: unknown[]): string => JSON.stringify([new URL(url, globalThis.location?.href), ...what]);
    super(url, {
      ...options,
      store: options.store ?? (persist ? indexedDBStore(name(persist)) : undefined),
      between: shared ? (own, changed) => share(name(shared, member, transports), own, changed) : undefined,
    });
  }

  /** Who is on a topic: now, and again each time that changes (PROTOCOL.md §14). */
  presence(topic: string, { signal }: { signal?: AbortSignal } = {}): AsyncGenerator<Member[], void, undefined> {
    return presence(this, topic, signal);
  }

  /** Tries every transport between here and a server, and tells which get through, and why others do not. */
  static async check(url: string | URL, options?: CheckOptions): Promise<CheckReport> {
    return (await import("./check.js")).check(url, options);
  }
}
