import type { Options, Publication, Status, TopicEvent, Transport } from "./api.ts";
import { Link, type Owner } from "./link.ts";
import { Backoff } from "./backoff.ts";
import { Choice } from "./choice.ts";
import { now } from "./clock.ts";
import type { Connection, Feed, Sink } from "./connection.ts";
import { DuplexError, ended } from "./errors.ts";
import { isPlain, topicOf } from "./event.ts";
import { failure, type Http } from "./http.ts";
import { longpoll, poll } from "./poll.ts";
import { Reader, type Shared } from "./reader.ts";
import { note, recall } from "./memory.ts";
import { sse, stream } from "./stream.ts";
import type { Open } from "./transport.ts";
import { websocket, webtransport } from "./websocket.ts";

/** All that there are, the preferred one first; webtransport is for those who ask for it. */
const opens: Record<Transport, Open> = { websocket, webtransport, sse, stream, longpoll, poll };
const usual: Transport[] = ["websocket", "sse", "stream", "longpoll", "poll"];

// Milliseconds (PROTOCOL.md §15.4, §15.6).
const firstProbe = 30_000;
const mostProbe = 600_000;
const betweenChanges = 60_000;
const lasting = 5000;
/** How long names that nobody wants any more may still be subscribed. */
const linger = 500;
/**
 * How long after that a connection is kept that carries nothing: who goes on to another topic finds it.
 * Not in node, whose end would wait for it.
 */
const spareFor = "addEventListener" in globalThis ? 3000 : 0;
const noSignal = "nothing came through";
/** Milliseconds that a publish may take. */
const answerWithin = 30_000;

/**
 * The client's own connection. All readers share one stream with one cursor. To change the
 * transport, or the names where a transport cannot do that, another stream is begun from the
 * cursor while the old one goes on, and takes over when it works.
 */
export class Keeper implements Connection, Owner, Shared {
  readonly http: Http;
  cursor = "now";
  status: Connection["status"] = { state: "idle", failed: {} };
  #changed: () => void;
  #transports: Transport[] = [];
  /** To begin the next choice with: the one that worked last, or what has to take its place. */
  #first: Transport | undefined;
  /** It was chosen among all, so that others may rely on it. */
  #free?: boolean;
  #readers = new Set<Reader>();
  #current: Link | undefined;
  #choice: Choice | undefined;
  /** What it has begun. */
  #candidates = new Set<Link>();
  #pursuit: ReturnType<typeof setTimeout> | undefined;
  #begun?: boolean;
  /** Why the attempts of a choice failed. */
  #errors: DuplexError[] = [];
  #refused: DuplexError | undefined;
  #backoff = new Backoff();
  #retry: ReturnType<typeof setTimeout> | undefined;
  #probe: ReturnType<typeof setTimeout> | undefined;
  #probes = 0;
  #updating: ReturnType<typeof setTimeout> | undefined;
  #lastChange = -betweenChanges;
  /** Whether the last request got an answer. */
  #reached?: boolean;

  constructor(http: Http, options: Options, changed: () => void) {
    this.http = http;
    this.#changed = changed;
    this.use(options.transports ?? usual);
  }

  #be(state: Status["state"], more?: Partial<Status>): void {
    const { latency, failed } = this.status;
    this.status = { state, latency, failed, ...more };
    this.#changed();
  }

  // Readers.

  read(names: readonly string[], after: string, sink: Sink): Feed {
    if (this.status.state === "closed") throw new DuplexError("closed", "the client is closed");
    const reader = new Reader(this, names, after, sink);
    this.#readers.add(reader);
    if (!this.#begun) queueMicrotask(() => this.#begin());
    else this.#update(0);
    return reader;
  }

  /** Begins, with all readers that came at once. */
  #begin(): void {
    if (this.#begun || !this.#readers.size) return;
    this.#begun = true;
    this.#refused = undefined;
    const places = new Set([...this.#readers].map((r) => r.cursor));
    this.cursor = places.size === 1 ? [...places][0]! : "now";
    for (const reader of this.#readers) reader.begin(this.cursor);
    this.#first ??= recall(this.http.base);
    this.#connect();
  }

  left(reader: Reader): void {
    this.#readers.delete(reader);
    this.#update(linger);
  }

  brings(names: readonly string[]): string[] | undefined {
    const current = this.#current;
    if (current && names.every((name) => current.names.get(name) === true)) return [this.cursor, current.place];
  }

  #wanted(): Set<string> {
    return new Set([...this.#readers].flatMap((r) => r.names));
  }

  /** Has the stream bring what readers want. */
  #update(ms: number, change = () => this.#change()): void {
    clearTimeout(this.#updating);
    this.#updating = setTimeout(change, ms);
  }

  #change(): void {
    const current = this.#current;
    const wanted = this.#wanted();
    if (!wanted.size) {
      if (!current?.stream.change) return this.#rest();
      this.#update(spareFor, () => this.#rest());
    }
    if (!current) return; // the next stream begins with all
    const { names, stream } = current;
    const add = [...wanted].filter((name) => !names.has(name));
    const remove = [...names.keys()].filter((name) => !wanted.has(name));
    if (stream.change) {
      for (const name of remove) {
        names.delete(name);
        stream.change("unsubscribe", name).catch(() => {}); // lost says so
      }
      for (const name of add) {
        const answer = stream.change("subscribe", name);
        names.set(name, answer);
        answer.then(
          (cursor) => {
            if (names.get(name) !== answer) return;
            names.set(name, true);
            current.skips(cursor);
            this.#opened();
          },
          (error: DuplexError) => {
            if (names.get(name) === answer) names.delete(name);
            if (!error.retryable) for (const r of this.#readers) if (r.names.includes(name)) r.over(error);
          },
        );
      }
    } else if (add.length || remove.length) return this.#choose([current.transport]);
    this.#opened();
  }

  #opened(): void {
    for (const reader of this.#readers) reader.opened();
  }

  // Messages.

  message(a: Link, event: TopicEvent): void {
    if (a !== this.#current) {
      a.held.push(event);
      if (!this.#candidates.has(a)) return;
      this.#choice!.works(a.transport, now());
      return this.#pursue();
    }
    if (event.event === "$gap") return this.#gap(a, event);
    if (!event.id) return; // a $ping, while some subscription lags
    // An end may be told once more, to who has subscribed to it later.
    if (event.event !== "$end") this.cursor = event.id;
    const signal = !topicOf(event);
    for (const reader of this.#readers) {
      if (signal) reader.moved(this.cursor);
      else reader.event(event);
    }
  }

  /** Whose events are gone is told by the topic, or by pages of each. */
  #gap(a: Link, event: TopicEvent): void {
    const { id } = event;
    const named: string | undefined = event.data.topic;
    // Over websocket it may pass the events of other subscriptions (PROTOCOL.md §8.6).
    if (id && (!named || a.names.size === 1)) this.cursor = id;
    a.skips(event.data.to || id || event.data.oldest); // a page has no id for it
    for (const reader of [...this.#readers]) {
      const { names, synced } = reader;
      if (named && !names.includes(named)) continue;
      if (!id || !synced || names.length !== (named ? 1 : a.names.size) || !reader.gap(event)) reader.desync();
    }
    this.#opened();
  }

  answered(a: Link, latency: number): void {
    if (this.#current && a !== this.#current) return;
    this.status = { ...this.status, latency: Math.round(latency), version: this.#version() };
    this.#changed();
  }

  // The choice of a transport.

  use(transports: readonly Transport[]): void {
    this.#free = usual.every((t) => transports.includes(t));
    this.#first = undefined;
    this.#transports = transports.filter((t) => opens[t] && (t !== "websocket" || this.http.WebSocket));
    if (!this.#transports.length) throw new TypeError("no transport");
    if (!this.#begun) return;
    if (!this.#readers.size) return this.#rest();
    const { transport } = this.#current ?? {};
    if (!transport) this.#connect();
    else if (transport !== this.#transports[0]) this.#choose(this.#better(transport));
  }

  #better(than: Transport): Transport[] {
    const i = this.#transports.indexOf(than);
    return this.#transports.slice(0, i < 0 ? undefined : i);
  }

  #connect(): void {
    clearTimeout(this.#retry);
    this.#be("connecting", { error: this.status.error });
    this.#choose(this.#transports, this.#first);
  }

  /** Begins streams, beside the present one if there is one. */
  #choose(transports: readonly Transport[], first?: Transport): void {
    this.#abandon();
    this.#errors = [];
    this.#choice = new Choice(transports, now(), first, true);
    this.#pursue();
  }

  /** Does what the choice wants. */
  #pursue(): void {
    if (!this.#choice) return;
    clearTimeout(this.#pursuit);
    const { begin, adopt, wake } = this.#choice.next(now());
    if (begin) {
      this.#candidates.add(new Link(this, begin, opens[begin], this.#wanted(), this.cursor));
      this.#pursue();
    } else if (wake) this.#pursuit = setTimeout(() => this.#pursue(), wake - now());
    else this.#chosen([...this.#candidates].find((a) => a.transport === adopt));
  }

  #chosen(link?: Link): void {
    this.#candidates.delete(link!);
    for (const { transport, worked } of this.#candidates) if (!worked) this.#note(transport, noSignal);
    this.#abandon();
    if (link) this.#adopt(link);
    else if (this.#current) this.#stay();
    else this.#failed();
  }

  #abandon(): void {
    clearTimeout(this.#pursuit);
    this.#choice = undefined;
    for (const a of this.#candidates) a.close();
    this.#candidates.clear();
  }

  #adopt(a: Link): void {
    const { transport } = a;
    const old = this.#current;
    this.#current = a;
    old?.close();
    for (const reader of this.#readers) {
      if (old) reader.moved(this.cursor);
      reader.taken(a.after);
    }
    this.cursor = a.after;
    this.#reached = true;
    if (old && old.transport !== transport) this.#lastChange = now();
    const { [transport]: _, ...failed } = this.status.failed;
    this.#first = transport;
    if (this.#free) note(this.http.base, transport);
    this.#be("connected", { transport, version: this.#version(), failed });
    this.#schedule();
    this.#update(0);
    for (const event of a.held.splice(0)) this.message(a, event);
    this.#opened();
  }

  /** Of what browsers have fetched from the server; they do not say it of a WebSocket, nor of a session: that the server does. */
  #version(): string | undefined {
    const { transport, version } = this.#current ?? {};
    if (version || !transport || transport.startsWith("web")) return version;
    const fetched = performance.getEntriesByType("resource") as PerformanceResourceTiming[];
    return fetched.filter((e) => e.name.startsWith(this.http.base)).at(-1)?.nextHopProtocol || undefined;
  }

  /** None took over. Names that the present stream does not bring may be the reason. */
  #stay(): void {
    this.#schedule();
    const missing = [...this.#readers].filter((r) => !this.brings(r.names));
    if (missing.length) void this.#judge(missing).then(() => this.#update(this.#backoff.next()));
  }

  /** Plans to look for a better transport. */
  #schedule(soon = false): void {
    clearTimeout(this.#probe);
    const { transport } = this.#current ?? {};
    if (!transport || !this.#better(transport).length) return void (this.#probes = 0);
    const wait = soon ? 0 : Math.min(firstProbe * 2 ** this.#probes++, mostProbe) * (0.8 + Math.random() * 0.4);
    this.#probe = setTimeout(
      () => (this.#choice ? this.#schedule() : this.#choose(this.#better(transport))),
      Math.max(wait, this.#lastChange + betweenChanges - now()),
    );
  }

  #note(transport: Transport, failed: string): void {
    this.status = { ...this.status, failed: { ...this.status.failed, [transport]: failed } };
  }

  lost(a: Link, error: DuplexError): void {
    if (error.code === "end") return this.#ended(a);
    this.#note(a.transport, error.message);
    if (a === this.#current) return this.#lostCurrent(a, error);
    if (!this.#candidates.delete(a)) return;
    this.#errors.push(error);
    this.#choice!.failed(a.transport);
    if (hopeless(error, a.transport)) this.#choice!.stop();
    this.#pursue();
  }

  #lostCurrent(a: Link, error: DuplexError): void {
    this.#current = undefined;
    for (const reader of this.#readers) reader.lost(this.cursor);
    if (now() - a.worked > lasting) this.#backoff.failures = 0;
    this.#abandon();
    this.#errors = [error];
    if (error.problem && !error.retryable) return this.#failed();
    if (this.#backoff.failures || error.code === "silent" || error.code === "fault") this.#first = this.#transports[this.#transports.indexOf(a.transport) + 1];
    this.#wait(error);
  }

  /** The only topic of the stream has ended. */
  #ended(a: Link): void {
    this.#abandon();
    if (a === this.#current) this.#current = undefined;
    for (const reader of this.#readers) reader.ask();
    this.#wait(ended());
    this.#backoff.failures = 0; // it is none
  }

  /** No transport works. */
  #failed(): void {
    const errors = this.#errors;
    const final = errors.filter((e) => !e.retryable);
    const refused = final.find((e) => e.problem) ?? (errors.some((e) => e.retryable && e.status) ? undefined : final[0]);
    const error = refused ?? errors.find((e) => e.retryAfter) ?? errors.at(-1) ?? new DuplexError("silent", noSignal);
    const readers = [...this.#readers];
    // A page is not told why a WebSocket was refused: others have to find out.
    const blind = this.#transports.every((t) => t.startsWith("web")) && error.code !== "unreachable";
    if (blind || (refused?.problem && readers.length > 1)) return void this.#judge(readers).then(() => this.#wait(error));
    if (refused) {
      this.#refused = error;
      for (const reader of readers) reader.over(error);
    }
    this.#wait(error);
  }

  /** Finds out whose names are refused: those alone are over. */
  async #judge(readers: Reader[]): Promise<void> {
    const judged = readers.map((reader) =>
      this.http.page(reader.names, { after: "now", limit: 1 }).catch((e) => {
        const error = failure(e);
        if (error.retryable) return;
        this.#refused = error;
        reader.over(error);
      }),
    );
    await Promise.all(judged);
  }

  #wait(error: DuplexError): void {
    if (!this.#readers.size) return this.#rest();
    this.#be("waiting", { error });
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#connect(), this.#backoff.next(error));
  }

  check(online = false): void {
    const current = this.#current;
    if (online) this.#first = undefined; // it is another network
    if (this.status.state === "waiting") this.#connect();
    if (!current) return;
    if (online) this.#schedule(true);
    if (!current.stream.ping) this.#choose([current.transport]);
    current.check();
  }

  // Publishing.

  pipelines(publication: Publication): boolean {
    return !!this.#current?.stream.publish && isPlain(publication);
  }

  async publish(publication: Publication): Promise<string | string[]> {
    const { topic, data, event, media, key, batch } = publication;
    const { state } = this.status;
    if (state === "waiting" || state === "connecting") throw new DuplexError("unreachable", "not connected");
    if (this.pipelines(publication)) return this.#current!.stream.publish!(publication);
    try {
      // Who does not know that the server can be reached asks first, so that nothing is sent in vain.
      if (!this.#reached) {
        await this.http.request(this.http.url([]), { method: "HEAD", signal: AbortSignal.timeout(answerWithin) }).catch((e) => {
          if (!e.status) throw new DuplexError("unreachable", e.message);
        });
      }
      this.#reached = true;
      const response = await this.http.request(this.http.url([topic], { event, batch }), {
        method: "POST",
        headers: { "Content-Type": media!, "Idempotency-Key": key },
        body: data,
        signal: AbortSignal.timeout(answerWithin),
      });
      const { id, ids } = await response.json();
      return ids ?? id;
    } catch (e) {
      const error = failure(e);
      this.#reached = error.status > 0;
      throw error;
    }
  }

  // The end.

  /** Nobody reads. */
  #rest(): void {
    clearTimeout(this.#retry);
    clearTimeout(this.#probe);
    clearTimeout(this.#updating);
    this.#abandon();
    this.#current?.close();
    this.#current = undefined;
    this.#begun = false;
    if (this.status.state !== "closed") this.#be("idle", { error: this.#refused });
  }

  close(): void {
    this.#be("closed");
    for (const reader of [...this.#readers]) reader.over();
    this.#rest();
  }
}

/** Whether a failure concerns every transport (PROTOCOL.md §15.3). */
function hopeless(error: DuplexError, transport: Transport): boolean {
  const { code, status, problem, retryable } = error;
  return code === "unreachable" || ((status === 429 || status === 503) && (problem || transport !== "websocket")) || (problem && !retryable);
}
