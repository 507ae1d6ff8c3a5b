import type { OutboxStore, Publication, PublishOptions } from "./api.ts";
import { Backoff } from "./backoff.ts";
import { sleep } from "./clock.ts";
import type { Connection } from "./connection.ts";
import { DuplexError } from "./errors.ts";
import { isPlain, written } from "./event.ts";

/** How long one is repeated whose outcome is unknown, in ms: the server forgets its key (PROTOCOL.md §15.7). */
const unknownFor = 60_000;
/** How many may be under way on a connection that keeps their order, or in one batch. */
const pipeline = 64;
/** How many characters go together where each waits for the answer to the one before. */
const maxBatchLength = 10_000;

interface Letter {
  publication: Publication;
  /** What it consists of: itself, or those of a batch. */
  parts: Letter[];
  /** It joins no batch: it was refused with one, or others may know its key. */
  alone: boolean;
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
  #letters: Letter[] = [];
  #backoff = new Backoff();
  #pause: ReturnType<typeof setTimeout> | undefined;
  #running = false;
  #closed = false;
  #loaded!: Promise<void>;
  #client: EventTarget;

  constructor(client: EventTarget, connection: Connection, limit: number, store: OutboxStore | undefined, changed: () => void) {
    this.#client = client;
    this.#connection = connection;
    this.#limit = limit;
    this.#store = store;
    this.#changed = changed;
    this.wake();
  }

  get size(): number {
    return this.#letters.flatMap(({ parts }) => parts).length;
  }

  /** Tries at once, after it has taken over what clients have left that are gone. */
  wake(): void {
    const load = async (): Promise<void> => {
      const left = (await this.#store?.load()) ?? [];
      const unknown = left.filter(({ key }) => !this.#letters.some(({ publication }) => publication.key === key));
      const letters = unknown.map((publication) => {
        // Its promise is gone with an earlier page.
        const failed = (error: unknown) => this.#client.dispatchEvent(new CustomEvent("failed", { detail: { publication, error } }));
        return this.#letter(publication, () => {}, failed);
      });
      if (!this.#closed) this.#letters.splice(this.#underWay, 0, ...letters);
    };
    this.#loaded = load()
      .catch(() => {}) // then only what is new is kept
      .then(() => this.#retry());
  }

  #letter(publication: Publication, done: Letter["done"], failed: Letter["failed"], alone: boolean = false): Letter {
    const letter: Letter = { publication, parts: [], alone, busy: false, done, failed };
    letter.parts = [letter];
    return letter;
  }

  async publish(topic: string, data: unknown, { event, key, media, signal }: PublishOptions): Promise<string> {
    signal?.throwIfAborted();
    const publication: Publication = { key: key ?? randomKey(), topic, event, ...content(data, media) };
    if (this.#closed) throw new DuplexError("closed", "the client is closed");
    if (this.size >= this.#limit) throw new DuplexError("outbox-full", `${this.#limit} publishes wait already`);
    let letter!: Letter;
    const answer = new Promise<string>((done, failed) => (letter = this.#letter(publication, done, failed, !!(key || media) || !isPlain(publication))));
    answer.catch(() => {}); // it may fail while the store is waited for
    this.#letters.push(letter);
    signal?.addEventListener("abort", () => {
      if (!letter.busy && this.#take(letter)) letter.failed(signal.reason);
    });
    if (this.#store) {
      letter.busy = true; // until it is kept
      await this.#loaded;
      await this.#store.put(publication).finally(() => (letter.busy = false));
    }
    this.#changed();
    void this.#run();
    return answer;
  }

  #retry(): void {
    clearTimeout(this.#pause);
    this.#pause = undefined;
    void this.#run();
  }

  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    for (let letter; (letter = this.#next()); ) {
      const pipelines = this.#connection.pipelines(letter.publication);
      if (!pipelines && !this.#store) letter = this.#batch(letter);
      const { publication } = letter;
      letter.busy = true;
      letter.before = publication.sent;
      publication.sent ??= Date.now();
      if (this.#isLate(letter)) continue;
      if (this.#store) await this.#store.put(publication).catch(() => {});
      const sending = this.#send(letter);
      if (!pipelines) await sending;
    }
    this.#running = false;
  }

  /** How many are on their way to the server; not those that are being kept. They are the first. */
  get #underWay(): number {
    return this.#letters.filter(({ busy, publication }) => busy && publication.sent).length;
  }

  /** The one to send next, if it is time. */
  #next(): Letter | undefined {
    if (this.#pause || this.#closed) return;
    const busy = this.#underWay;
    const letter = this.#letters[busy];
    if (letter && !letter.busy && (!busy || (busy < pipeline && this.#connection.pipelines(letter.publication)))) return letter;
  }

  /** Makes the first one and those that may go with it one letter (PROTOCOL.md §7.3). */
  #batch(first: Letter): Letter {
    const { topic } = first.publication;
    let length = 0;
    const end = this.#letters.findIndex(
      ({ alone, publication: p }, i) => alone || p.sent || p.topic !== topic || i === pipeline || (length += p.data.length) > maxBatchLength,
    );
    const letters = this.#letters.slice(0, end < 0 ? pipeline : end);
    if (!letters[1]) return first;
    const lines = letters.map(({ publication: p }) => written({ event: p.event ?? "message" }, p));
    const batch: Letter = { ...first, publication: { key: randomKey(), topic, batch: true, media: "application/x-ndjson", data: lines.join("\n") }, parts: letters, alone: true };
    this.#letters.splice(0, letters.length, batch);
    return batch;
  }

  async #send(letter: Letter): Promise<void> {
    const { publication, parts } = letter;
    try {
      const ids = [await this.#connection.publish(publication)].flat();
      this.#backoff.failures = 0;
      this.#take(letter);
      parts.forEach((part, i) => part.done(ids[i]!));
    } catch (e) {
      const error = e as DuplexError;
      const untaken = error.code === "unreachable" || error.status === 429;
      letter.busy = false;
      if (untaken) publication.sent = letter.before;
      if (error.code === "too-big") publication.post = true; // it, or another on its connection
      if (parts[1] && (untaken || !error.retryable)) {
        // Each is its own again: to be taken back, or to be refused alone.
        this.#letters.splice(this.#letters.indexOf(letter), 1, ...parts);
        for (const part of parts) part.alone = !error.retryable;
      } else if (!error.retryable) this.#fail(letter, error);
      if (error.retryable && !this.#isLate(letter)) {
        if (!this.#closed) this.#pause ??= setTimeout(() => this.#retry(), this.#backoff.next(error));
        return;
      }
    }
    void this.#run();
  }

  #fail(letter: Letter, error: DuplexError): void {
    if (this.#take(letter)) for (const part of letter.parts) part.failed(error);
  }

  /** Whether it may be stored already, and its key be forgotten. Then it has failed. */
  #isLate(letter: Letter): boolean {
    const late = Date.now() - letter.publication.sent! > unknownFor;
    if (late) this.#fail(letter, new DuplexError("unknown", "no answer, and it is too late to repeat it"));
    return late;
  }

  #take(letter: Letter): boolean {
    const i = this.#letters.indexOf(letter);
    if (i < 0) return false;
    this.#letters.splice(i, 1);
    void this.#store?.remove(letter.publication.key).catch(() => {});
    this.#changed();
    return true;
  }

  /** Resolves when what waits now is gone. */
  async settled(topic: string): Promise<void> {
    while (this.#letters.some((letter) => letter.publication.topic === topic)) await sleep(10);
  }

  /** What waits is told; what a store keeps, it keeps. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#pause);
    this.#store?.close?.();
    for (const { parts } of this.#letters.splice(0)) for (const part of parts) part.failed(new DuplexError("closed", "the client is closed"));
  }
}

function content(data: unknown, media?: string): { data: string | Uint8Array<ArrayBuffer>; media: string } {
  if (typeof data === "string") return { data, media: media ?? "text/plain" };
  const view = data instanceof ArrayBuffer ? new Uint8Array(data) : data;
  if (ArrayBuffer.isView(view)) return { data: new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice() as Uint8Array<ArrayBuffer>, media: media ?? "application/octet-stream" };
  const json = JSON.stringify(data);
  if (json === undefined) throw new TypeError("JSON cannot say this data");
  return { data: json, media: media ?? "application/json" };
}

/** 128 random bits, also where a page may not have crypto.randomUUID: over plain HTTP. */
function randomKey(): string {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}
