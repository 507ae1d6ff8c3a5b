import type { Transport } from "./api.ts";
import { sleep } from "./clock.ts";

/** What `check` found out about one transport (PROTOCOL.md §15.10). */
export interface Checked {
  transport: Transport;
  /** The version of HTTP, as `HTTP/2`, where the browser tells. */
  version?: string;
  works: boolean;
  /** Milliseconds to the first signal, on a connection that is there where the browser keeps one. */
  firstSignal?: number;
  /** About how many bytes a message of 64 bytes takes beyond them. */
  overhead?: number;
  /** Why it does not work: for programs, and for people. */
  cause?: Cause;
  why?: string;
}

export type Cause =
  | "not-offered" | "unreached" | "upgrade-refused" | "unanswered" | "silent" | "held" | "cut"
  | "unauthorized" | "origin-refused" | "host-refused" | "busy" | "not-duplex" | "other";

export interface CheckOptions {
  token?: string;
  /** Milliseconds after which a transport is given up. Default 5000. */
  timeout?: number;
  signal?: AbortSignal;
  /** Is called with each result as it comes. */
  onresult?: (checked: Checked) => void;
}

export interface CheckReport {
  results: Checked[];
  /** The transport that clients will use; undefined if none works. */
  best?: Transport;
  /** What to make of it. */
  advice: string;
}

type Result = Omit<Checked, "transport" | "works">;

/** Why a transport does not work. */
class No extends Error {
  override readonly cause: Cause;
  constructor(cause: Cause, why: string) {
    super(why);
    this.cause = cause;
  }
}

const held = "nothing comes of an answer that goes on: something on the way holds it back until its end";
const timeUp = "there was no answer in time: something on the way swallows it";

/** Tries every transport between here and a server, one after the other. It publishes nothing. */
export async function check(url: string | URL, options: CheckOptions = {}): Promise<CheckReport> {
  const base = new URL(url, globalThis.location?.href).href.replace(/\/+$/, "");
  const topic = `${base}/topics/duplex-check/${crypto.getRandomValues(new Uint32Array(2)).join("")}`;
  const headers: HeadersInit = options.token ? { Authorization: `Bearer ${options.token}` } : {};

  const results: Checked[] = []; // the preferred first

  const ask = async (query: string, signal: AbortSignal): Promise<Response> => {
    let response;
    try {
      response = await fetch(`${topic}?${query}`, { headers, signal, cache: "no-store" });
    } catch {
      signal.throwIfAborted();
      // A page sees nothing of an answer that is not for it, but that there is one.
      await fetch(base, { mode: "no-cors", cache: "no-store", signal }).catch(() => {
        throw new No("unreached", "the server cannot be reached");
      });
      throw new No("origin-refused", "the server takes no requests of this Origin (--allow-origin)");
    }
    if (response.ok) {
      if (/json|event-stream/.test(response.headers.get("content-type")!)) return response;
      throw new No("not-duplex", "this is no answer of a Duplex server");
    }
    const problem: string = (await response.json().catch(() => ({}))).type?.replace("urn:duplex:problem:", " ") ?? "";
    const status = `${response.status} ${response.statusText}`.trim() + problem;
    if (problem === " origin-refused") throw new No("origin-refused", `${status}: the server takes no requests of this Origin (--allow-origin)`);
    if (response.status === 421) throw new No("host-refused", `${status}: the server does not know itself by this Host (--allow-host)`);
    if (response.status === 401) throw new No("unauthorized", `${status}: a token is needed`);
    throw new No(response.status === 429 || response.status === 503 ? "busy" : "other", status);
  };

  const versionOf = (query: string): string | undefined => {
    const entry = performance.getEntriesByName(`${topic}?${query}`).pop() as PerformanceResourceTiming | undefined;
    return entry?.nextHopProtocol.replace(/^h(ttp.)?/, "HTTP/") || undefined; // as http/1.1, h2
  };

  /** An event as lines and messages have it, but for its data: its id is like that of a signal. */
  const envelope = (id: string): number => `{"id":"${id}","topic":"${topic.slice(base.length + 8)}","data":"","time":"2026-01-02T03:04:05.123456789Z"}`.length;

  /** Until the first signal; the second request has a connection, if there is HTTP/2 or above. */
  async function streamed(query: string, message: RegExp, signal: AbortSignal): Promise<Result> {
    const result: Result = {};
    for (const round of [1, 2]) {
      const request = `${query}&n=${round}`;
      const began = performance.now();
      try {
        const reader = (await ask(request, signal)).body!.pipeThrough(new TextDecoderStream()).getReader();
        let found: RegExpExecArray | null = null;
        for (let text = ""; !found; found = message.exec(text)) {
          const { value, done } = await reader.read();
          if (done) throw new No("held", held);
          text += value;
        }
        void reader.cancel().catch(() => {}); // it may have been cut
        result.firstSignal = performance.now() - began;
        const { id } = JSON.parse(found[1]!);
        result.overhead = envelope(id) + (query.startsWith("as=sse") ? `id: ${id}\ndata: \n\n`.length : 1) + 6;
      } catch (error) {
        throw signal.aborted && results.at(-1)?.works ? new No("held", held) : error;
      }
      await sleep(10); // the browser makes the entry when the request is over
      result.version = versionOf(request);
    }
    return result;
  }

  /** The first answer also makes the connection. A poll that is held has to come through, too. */
  async function polled(query: string, waits: readonly number[], signal: AbortSignal): Promise<Result> {
    const result: Result = {};
    for (const [i, wait] of waits.entries()) {
      const began = performance.now();
      const request = `${query}&wait=${wait}&n=${i}`;
      const { cursor } = await (await ask(request, signal)).json();
      if (!wait) result.firstSignal = performance.now() - began;
      // Of a header browsers say that it has 300 bytes.
      result.overhead = envelope(cursor) + `{"events":[],"cursor":"${cursor}","more":false}`.length + 300;
      result.version = versionOf(request);
    }
    return result;
  }

  // What becomes of a poll says whether a stream is held back, or nothing is answered.
  const tries: [Transport, (signal: AbortSignal) => Promise<Result>][] = [
    ["poll", (signal) => polled("as=poll&after=now", [0, 0], signal)],
    ["longpoll", (signal) => polled("as=longpoll&after=now", [0, 0, 1], signal)],
    ["stream", (signal) => streamed("as=stream", /^(.*)\n/, signal)],
    ["sse", (signal) => streamed("as=sse&envelope", /^data: (.*)\n\n/m, signal)],
    ["websocket", (signal) => websocket(topic, options.token, envelope, signal)],
  ];
  for (const [transport, attempt] of tries) {
    // By hand: AbortSignal.any is younger than other things that this needs.
    const stop = new AbortController();
    const giveUp = (): void => stop.abort();
    const timer = setTimeout(giveUp, options.timeout ?? 5000);
    options.signal?.addEventListener("abort", giveUp, { signal: stop.signal });
    let checked: Checked;
    try {
      checked = { transport, works: true, ...(await attempt(stop.signal)) };
    } catch (error) {
      options.signal?.throwIfAborted();
      const no = error instanceof No ? error : stop.signal.aborted ? new No("unanswered", timeUp) : new No("cut", `the connection was cut: ${error}`);
      checked = { transport, works: false, cause: no.cause, why: no.message };
    } finally {
      clearTimeout(timer);
      giveUp();
    }
    results.unshift(checked);
    options.onresult?.(checked);
  }
  return advise(results);
}

function websocket(topic: string, token: string | undefined, envelope: (id: string) => number, signal: AbortSignal): Promise<Result> {
  return new Promise((done, fail) => {
    const began = performance.now();
    if (!globalThis.WebSocket) return fail(new No("not-offered", "this browser has no WebSocket"));
    const socket = new WebSocket(topic.replace(/^http/, "ws"), token ? ["duplex.v1", `bearer.${token}`] : ["duplex.v1"]);
    let opened = false;
    const no = (cause: Cause, why: string): void => {
      fail(new No(cause, why));
      socket.close();
    };
    signal.onabort = () => (opened ? no("silent", "the handshake was answered, and then nothing: a black hole") : no("unanswered", timeUp));
    socket.onopen = () => (opened = true);
    socket.onmessage = ({ data }: MessageEvent<string>) => {
      done({ firstSignal: performance.now() - began, overhead: envelope(JSON.parse(data).id ?? "") + 4 });
      socket.close();
    };
    // What the answer was, a browser keeps to itself.
    socket.onclose = ({ code }) => (opened ? no("cut", `the connection was cut: ${code}`) : no("upgrade-refused", "something on the way refuses handshakes, or drops Upgrade"));
  });
}

function advise(results: Checked[]): CheckReport {
  const [ws, sse, , , poll] = results as [Checked, Checked, Checked, Checked, Checked];
  const best = results.find((r) => r.works)?.transport;
  const advice: string[] = [];
  if (!best) advice.push(`Nothing gets through: ${poll.why}.`);
  else if (ws.works) advice.push("Clients will use WebSockets.");
  else advice.push(`Clients will use ${best}, because WebSockets do not get through: ${ws.why}.`);
  if (best && sse.cause === "held") advice.push("Streams are held back: switch off buffering and compression (nginx: proxy_buffering off; gzip off;).");
  return { results, best, advice: advice.join(" ") };
}
