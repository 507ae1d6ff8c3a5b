import type { Transport } from "./api.ts";

/** What `check` found out about one transport (PROTOCOL.md §15.10). */
export interface Checked {
  transport: Transport;
  /** The version of HTTP, as `HTTP/2`, where the browser tells. */
  version?: string;
  works: boolean;
  /** Milliseconds from a question to its answer. */
  latency?: number;
  /** Bytes that come with the data of each message. */
  overhead?: number;
  /** Why it does not work: a word of PROTOCOL.md §15.10, and what was seen. */
  why?: string;
}

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
  /** The most preferred transport that works. */
  recommended?: Transport;
}

type Result = Omit<Checked, "transport" | "works">;

/** Why a transport does not work. */
class No extends Error {}

const versions: Record<string, string> = { "http/1.0": "HTTP/1.0", "http/1.1": "HTTP/1.1", h2: "HTTP/2", h3: "HTTP/3" };
const bytes = (text: string): number => new TextEncoder().encode(text).length;
const rounds = 3;

/** Tries every transport between here and a server. It publishes nothing. */
export async function check(url: string | URL, options: CheckOptions = {}): Promise<CheckReport> {
  const base = new URL(url, globalThis.location?.href).href.replace(/\/+$/, "");
  const topic = `${base}/topics/check-${crypto.getRandomValues(new Uint32Array(1))[0]!.toString(36)}`;
  const headers: HeadersInit = options.token ? { Authorization: `Bearer ${options.token}` } : {};

  /** Asks, and gives up in time. */
  const ask = async (query: string, signal: AbortSignal): Promise<Response> => {
    let response;
    try {
      response = await fetch(`${topic}?${query}`, { headers, signal, cache: "no-store" });
    } catch {
      signal.throwIfAborted();
      // A page sees nothing of an answer that is not for it, but that there is one.
      const answers = await fetch(base, { mode: "no-cors", cache: "no-store", signal }).then(
        () => true,
        () => false,
      );
      throw new No(answers ? "origin refused" : "unreachable");
    }
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({}));
    if (response.status === 401) throw new No("token refused");
    throw new No(`refused: ${response.status} ${problem.title ?? response.statusText}`.trim());
  };

  const versionOf = (query: string): string | undefined => {
    const entry = performance.getEntriesByName(`${topic}?${query}`).pop() as PerformanceResourceTiming | undefined;
    return entry && versions[entry.nextHopProtocol];
  };

  const tries: [Transport, (signal: AbortSignal) => Promise<Result>][] = [
    ["websocket", (signal) => websocket(topic, options.token, signal)],
    ["sse", (signal) => streamed("as=sse&envelope", /^data: (.*)\n\n/m, signal)],
    ["stream", (signal) => streamed("as=stream", /^(.*)\n/, signal)],
    ["longpoll", (signal) => polled("as=longpoll&after=now&wait=", signal)],
    ["poll", (signal) => polled("as=poll&after=now&n=", signal)],
  ];

  /** The time to the first signal, of a request on a connection that is there. */
  async function streamed(query: string, message: RegExp, signal: AbortSignal): Promise<Result> {
    let result: Result = {};
    for (const round of [1, 2]) {
      const began = performance.now();
      const stop = new AbortController();
      const request = `${query}&n=${round}`;
      try {
        const response = await ask(request, AbortSignal.any([signal, stop.signal]));
        const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
        for (let text = ""; ; ) {
          const { value, done } = await reader.read();
          if (done) throw new No("held back: the answer ended before anything came");
          text += value;
          const found = message.exec(text);
          if (!found) continue;
          const data = JSON.stringify(JSON.parse(found[1]!).data);
          result = { latency: performance.now() - began, overhead: bytes(found[0].replace(/^retry:.*\n/, "")) - bytes(data) };
          break;
        }
      } catch (error) {
        if (signal.aborted) throw new No("held back: nothing came in time, a proxy may keep it until the end");
        throw error;
      } finally {
        stop.abort();
      }
      // The browser makes the entry when the request is over.
      await new Promise((done) => setTimeout(done, 10));
      result.version = versionOf(request);
    }
    return result;
  }

  /** The time of a question and its answer, of which the first also makes the connection. */
  async function polled(query: string, signal: AbortSignal): Promise<Result> {
    const times: number[] = [];
    let page = "";
    for (let i = 0; i <= rounds; i++) {
      const began = performance.now();
      page = await (await ask(query + (query.endsWith("wait=") ? "0" : i), signal)).text();
      if (i) times.push(performance.now() - began);
    }
    if (query.endsWith("wait=")) await (await ask(`${query}1`, signal)).text(); // one that is held
    return { latency: median(times), overhead: bytes(page) + 300, version: versionOf(`${query}${query.endsWith("wait=") ? 1 : rounds}`) };
  }

  const results: Checked[] = [];
  for (const [transport, attempt] of tries) {
    const timeout = AbortSignal.timeout(options.timeout ?? 5000);
    const signal = options.signal ? AbortSignal.any([timeout, options.signal]) : timeout;
    let checked: Checked;
    try {
      checked = { transport, works: true, ...(await attempt(signal)) };
    } catch (error) {
      options.signal?.throwIfAborted();
      checked = { transport, works: false, why: error instanceof No ? error.message : timeout.aborted ? "no answer" : `not understood: ${error}` };
    }
    results.push(checked);
    options.onresult?.(checked);
  }
  return { results, recommended: results.find((r) => r.works)?.transport };
}

function websocket(topic: string, token: string | undefined, signal: AbortSignal): Promise<Result> {
  return new Promise((done, fail) => {
    const socket = new WebSocket(topic.replace(/^http/, "ws"), token ? ["duplex.v1", `bearer.${token}`] : ["duplex.v1"]);
    const times: number[] = [];
    let opened = false;
    let overhead = 0;
    let asked = 0;
    const no = (why: string): void => {
      fail(new No(why));
      socket.close();
    };
    signal.onabort = () => no(opened ? "silence: the handshake was answered, and nothing followed" : "no answer");
    const ask = (): void => {
      asked = performance.now();
      socket.send(`{"op":"ping","ref":${times.length}}`);
    };
    socket.onopen = () => (opened = true);
    socket.onmessage = ({ data }: MessageEvent<string>) => {
      const message = JSON.parse(data);
      if (message.op) times.push(performance.now() - asked);
      else if (overhead) return;
      else overhead = bytes(data) - bytes(JSON.stringify(message.data)) + 2;
      if (times.length < rounds) return ask();
      socket.close();
      done({ latency: median(times), overhead });
    };
    // Why it failed, a browser keeps to itself.
    socket.onclose = ({ code }) => no(opened ? `closed: ${code}` : "no upgrade: the handshake was refused, or changed on the way");
  });
}

const median = (times: number[]): number => times.sort((a, b) => a - b)[times.length >> 1]!;
