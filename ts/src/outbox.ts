import type { OutboxStore, Publication, PublishOptions } from "./api.ts";
import { Backoff } from "./backoff.ts";
import type { Connection } from "./connection.ts";
import { DuplexError } from "./errors.ts";

/** How long one is repeated whose outcome is unknown, in ms: the server forgets its key (PROTOCOL.md §15.7). */
const repeatFor = 60_000;
/** How many may be under way on a connection that keeps their order. */
const pipeline = 64;

interface Item {
  publication: Publication;
  busy: boolean;
  /** `sent`, as it was before this try. */
  before?: number;
  done(id: string): void;
  failed(error: unknown): void;
}

/** Publishes that wait for the server, and go to it in order (PROTOCOL.md §15.7). */
export class Outbox {
  #connection: Connection;
  #store: OutboxStore | undefined;
  #limit: number;
  #changed: () => void;
  #items: Item[] = [];
  #backoff = new Backoff();
  #pause: ReturnType<typeof setTimeout> | undefined;
  #running = false;
  #closed = false;
  #loaded: Promise<void>;
  #client: EventTarget;

  constructor(client: EventTarget, connection: Connection, limit: number, store: OutboxStore | undefined, changed: () => void) {
    this.#client = client;
    this.#connection = connection;
    this.#limit = limit;
    this.#store = store;
    this.#changed = changed;
    this.#loaded = this.#load().catch(() => {}); // then only what is new is kept
  }

  get size(): number {
    return this.#items.length;
  }

  async #load(): Promise<void> {
    if (!this.#store) return;
    const kept = (await this.#store.load()).map((publication) => {
      // Its promise is gone with an earlier page.
      const failed = (error: unknown) => this.#client.dispatchEvent(new CustomEvent("failed", { detail: { publication, error } }));
      return this.#item(publication, () => {}, failed);
    });
    this.#items = [...kept, ...this.#items];
    this.wake();
  }

  #item(publication: Publication, done: Item["done"], failed: Item["failed"]): Item {
    return { publication, busy: false, done, failed };
  }

  async publish(topic: string, data: unknown, { event, key = randomKey(), media, signal }: PublishOptions): Promise<string> {
    signal?.throwIfAborted();
    const publication: Publication = { key, topic, event, ...content(data, media) };
    if (this.#closed) throw new DuplexError("closed", "the client is closed");
    if (this.#items.length >= this.#limit) throw new DuplexError("outbox-full", `${this.#limit} publishes wait already`);
    let item!: Item;
    const answer = new Promise<string>((done, failed) => (item = this.#item(publication, done, failed)));
    this.#items.push(item);
    signal?.addEventListener("abort", () => {
      if (!item.busy && this.#take(item)) item.failed(signal.reason);
    });
    if (this.#store) {
      item.busy = true; // until it is kept
      await this.#loaded;
      await this.#store.put(publication).finally(() => (item.busy = false));
    }
    this.#changed();
    void this.#run();
    return answer;
  }

  /** Tries at once: there is a connection. */
  wake(): void {
    clearTimeout(this.#pause);
    this.#pause = undefined;
    void this.#run();
  }

  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    for (let item; (item = this.#next()); ) {
      const { publication } = item;
      item.busy = true;
      item.before = publication.sent;
      publication.sent ??= Date.now();
      if (this.#isLate(item)) continue;
      const pipelines = this.#connection.pipelines(publication);
      if (this.#store) await this.#store.put(publication).catch(() => {});
      const sending = this.#send(item);
      if (!pipelines) await sending;
    }
    this.#running = false;
  }

  /** The one to send next, if it is time. */
  #next(): Item | undefined {
    if (this.#pause || this.#closed) return;
    const busy = this.#items.filter((item) => item.busy).length;
    const item = this.#items[busy];
    if (item && !item.busy && (!busy || (busy < pipeline && this.#connection.pipelines(item.publication)))) return item;
  }

  async #send(item: Item): Promise<void> {
    const { publication } = item;
    try {
      const id = await this.#connection.publish(publication);
      this.#backoff.reset();
      this.#take(item);
      item.done(id);
    } catch (e) {
      const error = e as DuplexError;
      item.busy = false;
      if (error.code === "unreachable" || error.status === 429) publication.sent = item.before; // it was not taken
      if (!error.retryable) {
        this.#take(item);
        item.failed(error);
      } else if (!this.#isLate(item)) {
        if (!this.#closed) this.#pause ??= setTimeout(() => this.wake(), this.#backoff.next(error));
        return;
      }
    }
    void this.#run();
  }

  /** Whether it may be stored already, and its key be forgotten. Then it has failed. */
  #isLate(item: Item): boolean {
    const late = Date.now() - item.publication.sent! > repeatFor;
    if (late && this.#take(item)) item.failed(new DuplexError("unknown", "there was no answer, and it is too late to repeat it"));
    return late;
  }

  #take(item: Item): boolean {
    const i = this.#items.indexOf(item);
    if (i < 0) return false;
    this.#items.splice(i, 1);
    void this.#store?.remove(item.publication.key).catch(() => {});
    this.#changed();
    return true;
  }

  /** Resolves when what waits now is gone. */
  async settled(topic: string): Promise<void> {
    while (this.#items.some((item) => item.publication.topic === topic)) await new Promise((done) => setTimeout(done, 10));
  }

  /** What waits is told; what a store keeps, it keeps. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#pause);
    for (const item of this.#items.splice(0)) item.failed(new DuplexError("closed", "the client is closed"));
  }
}

function content(data: unknown, media?: string): { data: string | Uint8Array<ArrayBuffer>; media: string } {
  if (typeof data === "string") return { data, media: media ?? "text/plain" };
  if (data instanceof ArrayBuffer) return { data: new Uint8Array(data.slice(0)), media: media ?? binary };
  if (ArrayBuffer.isView(data)) return { data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice() as Uint8Array<ArrayBuffer>, media: media ?? binary };
  const json = JSON.stringify(data);
  if (json === undefined) throw new TypeError("JSON cannot say this data");
  return { data: json, media: media ?? "application/json" };
}

const binary = "application/octet-stream";

/** 128 random bits, also where a page may not have crypto.randomUUID: over plain HTTP. */
function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}
