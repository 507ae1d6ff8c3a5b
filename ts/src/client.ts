import type { HistoryOptions, Options, Page, PublishOptions, Status, SubscribeOptions, TopicEvent, Transport } from "./api.ts";
import type { Connection } from "./connection.ts";
import { Keeper } from "./keeper.ts";
import { checkName } from "./event.ts";
import { Http } from "./http.ts";
import { Outbox } from "./outbox.ts";
import { Subscription } from "./subscription.ts";
import { onWake } from "./wake.ts";

/**
 * A client of one server. It connects when there is something to do, by whatever transport gets
 * through, and dispatches `status` when its status has changed. It dispatches `failed`, with `detail`
 * of `publication` and `error`, for what an earlier page has left in the outbox and cannot be told to
 * anybody else.
 */
export class Client extends EventTarget {
  /** @internal */
  readonly http: Http;
  #connection: Connection;
  #outbox: Outbox;
  #open = new AbortController();
  #status!: Status;
  #told?: boolean;
  #seen: Connection["status"] | undefined;

  /**
   * `url` is that of the server, as `https://example.com`, with a path if it is below one. In a page it
   * may be relative: `/`.
   */
  constructor(url: string | URL, options: Options = {}) {
    super();
    const { href, search, hash } = new URL(url, globalThis.location?.href);
    if (search || hash) throw new TypeError("URL with a query");
    this.http = new Http(href.replace(/\/+$/, ""), options);
    const own = (changed: () => void): Connection => new Keeper(this.http, options, changed);
    const changed = (): void => this.#changed();
    this.#connection = options.between?.(own, changed) ?? own(changed);
    this.#outbox = new Outbox(this, this.#connection, options.outbox ?? 1000, options.store, changed);
    onWake((online) => this.#check(online), this.#open.signal);
    this.#changed();
  }

  /** How it is connected. */
  get status(): Status {
    return this.#status;
  }

  #changed(): void {
    if (!this.#outbox) return; // not yet
    const { state } = this.#status ?? {};
    const { status } = this.#connection;
    this.#status = { ...status, waiting: this.#outbox.size };
    if (status.state === "connected" && state !== "connected") this.#outbox.wake();
    // What waits while it is connected does so for a moment only.
    if (this.#told || (status === this.#seen && state === "connected")) return;
    this.#seen = status;
    this.#told = true;
    queueMicrotask(() => {
      this.#told = false;
      this.dispatchEvent(new Event("status"));
    });
  }

  /**
   * The events of topics and patterns (`orders/*`, `orders/**`), as an iterable or by a callback. It
   * survives every loss of the connection. Besides events it gives `$gap` and `$end`.
   */
  subscribe<T = any>(topics: string | readonly string[], options?: SubscribeOptions): Subscription<T>;
  subscribe<T = any>(topics: string | readonly string[], callback: (event: TopicEvent<T>) => void, options?: SubscribeOptions): Subscription<T>;
  subscribe<T>(topics: string | readonly string[], second?: SubscribeOptions | ((event: TopicEvent<T>) => void), third?: SubscribeOptions): Subscription<T> {
    const names = namesOf(topics);
    if (!names.length) throw new TypeError("no topics");
    const [callback, options = {}] = typeof second === "function" ? [second, third] : [undefined, second];
    return new Subscription(this.#connection, names, options, callback);
  }

  /**
   * Appends an event to a topic, and resolves with its id once it is stored. While there is no
   * connection it waits in the outbox. `data` is text, bytes, or anything that JSON can say.
   */
  async publish(topic: string, data: unknown, options: PublishOptions = {}): Promise<string> {
    checkName(topic);
    return this.#outbox.publish(topic, data, options);
  }

  /** Ends a topic, after what was published to it here: its subscribers get `$end`, and it takes no more events. */
  async end(topic: string, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    checkName(topic);
    await this.#outbox.settled(topic);
    await this.http.request(this.http.url([topic]), { method: "DELETE", signal });
  }

  /** A page of what is kept: the newest one, or what follows `after`. */
  async history<T = any>(topics: string | readonly string[], { after, limit, signal }: HistoryOptions = {}): Promise<Page<T>> {
    return this.http.page(namesOf(topics), { after, limit }, signal);
  }

  /** Changes the transports that may be used. It takes over to the first of them that works. */
  use(transports: readonly Transport[]): void {
    this.#connection.use(transports);
  }

  /** Finds out within 2 s whether the connection works, or makes a new one. Pages do so when they come back. */
  check(): void {
    this.#check();
  }

  #check(online?: boolean): void {
    this.#connection.check(online);
    this.#outbox.wake();
  }

  /** Ends all subscriptions, and gives up what waits in the outbox, unless a store keeps it. */
  close(): void {
    this.#open.abort();
    this.#outbox.close();
    this.#connection.close();
  }
}

function namesOf(topics: string | readonly string[]): string[] {
  const names = [topics].flat() as string[];
  names.forEach(checkName);
  return names;
}
