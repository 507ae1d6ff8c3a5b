// Finds out what a network lets through (PROTOCOL.md §15.10). A module of its own: it is loaded when a page asks.

import type { Transport } from "./api.ts";
import type { Cause, Checked, CheckOptions, CheckReport } from "./checked.ts";
import { now, sleep } from "./clock.ts";
import type { Socket } from "./websocket.ts";

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
const timeUp = "there was no answer in time: something on the way swallows it, or is very slow";

/** A packet of QUIC adds to a line about so many bytes. */
const packet = 28;

/** Tries every transport between here and a server, one after the other, but webtransport beside them. It publishes nothing. */
export async function check(url: string | URL, options: CheckOptions = {}): Promise<CheckReport> {
  const base = new URL(url, globalThis.location?.href).href.replace(/\/+$/, "");
  const topic = `${base}/topics/duplex-check/${crypto.getRandomValues(new Uint32Array(2)).join("")}`;
  const headers: HeadersInit = options.token ? { Authorization: `Bearer ${options.token}` } : {};

  const results: Checked[] = []; // the preferred first
  /** Where the server announces HTTP/3; undefined if this page is not told. */
  let altSvc: string | undefined;

  const ask = async (query: string, signal: AbortSignal): Promise<Response> => {
    let response;
    try {
      response = await fetch(`${topic}?${query}`, { headers, signal, cache: "no-store" });
    } catch {
      signal.throwIfAborted();
      // A page sees nothing of an answer that is not for it, but that there is one.
      await fetch(`${base}/client.js`, { mode: "no-cors", cache: "no-store", signal }).catch(() => {
        throw new No("unreached", "the server cannot be reached");
      });
      throw new No("origin-refused", "the server takes no requests of this Origin (--allow-origin)");
    }
    if (response.ok) {
      if (response.type === "basic") altSvc = response.headers.get("alt-svc") ?? "";
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
    return entry?.nextHopProtocol?.replace(/^h(ttp.)?/, "HTTP/") || undefined; // as http/1.1, h2; node tells none
  };

  /** An event as lines and messages have it, but for its data: its id is like that of a signal. */
  const envelope = (id: string): number => `{"id":"${id}","topic":"${topic.slice(base.length + 8)}","data":"","time":"2026-01-02T03:04:05.123456789Z"}`.length;

  /** Until the first signal; the second request has a connection, if there is HTTP/2 or above. */
  async function streamed(query: string, message: RegExp, signal: AbortSignal): Promise<Result> {
    const result: Result = {};
    for (const round of [1, 2]) {
      const request = `${query}&n=${round}`;
      const began = now();
      try {
        const reader = (await ask(request, signal)).body!.pipeThrough(new TextDecoderStream()).getReader();
        let found: RegExpExecArray | null = null;
        for (let text = ""; !found; found = message.exec(text)) {
          const { value, done } = await reader.read();
          if (done) throw new No("held", held);
          text += value;
        }
        void reader.cancel().catch(() => {}); // it may have been cut
        result.firstSignal = now() - began;
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
      const began = now();
      const request = `${query}&wait=${wait}&n=${i}`;
      const { cursor } = await (await ask(request, signal)).json();
      if (!wait) result.firstSignal = now() - began;
      // Of a header browsers say that it has 300 bytes.
      result.overhead = envelope(cursor) + `{"events":[],"cursor":"${cursor}","more":false}`.length + 300;
      result.version = versionOf(request);
    }
    return result;
  }

  /** What the answer was, a browser keeps to itself; a poll may have found out. */
  function refusal(cause: Cause, why: string): No {
    const poll = results.at(-1)!;
    return poll.cause === "origin-refused" ? new No(poll.cause, poll.why!) : new No(cause, why);
  }

  async function websocket(signal: AbortSignal): Promise<Result> {
    if (!globalThis.WebSocket) throw new No("not-offered", "this browser has no WebSocket");
    const began = now();
    const protocols = options.token ? ["duplex.v1", `bearer.${options.token}`] : ["duplex.v1"];
    const refused = refusal("upgrade-refused", "something on the way refuses handshakes, or drops Upgrade");
    const id = await firstMessage(new WebSocket(topic.replace(/^http/, "ws"), protocols), signal, refused);
    return { firstSignal: now() - began, overhead: envelope(id) + 4 };
  }

  async function webtransport(signal: AbortSignal): Promise<Result> {
    if (!globalThis.WebTransport) throw new No("not-offered", "this browser has no WebTransport");
    if (!base.startsWith("https:")) throw new No("not-offered", "WebTransport needs https");
    if (options.token) throw new No("not-offered", "a page's WebTransport carries no token");
    const announced = altSvc === undefined || /\bh3=/.test(altSvc);
    if (!announced && results.at(-1)!.version !== "HTTP/3") throw new No("not-offered", "the server does not announce HTTP/3 (--http3)");
    const { Session } = await import("./webtransport.js");
    const began = now();
    const refused = refusal("unreached", "no session opens: nobody listens at the UDP port, or this browser does not take its certificate for HTTP/3");
    const blocked = new No("udp-blocked", "nobody answers by UDP: it is blocked on the way, or the port is not open");
    try {
      const id = await firstMessage(new Session(topic, ["duplex.v1"]), signal, refused, blocked);
      return { version: "HTTP/3", firstSignal: now() - began, overhead: envelope(id) + 1 + packet };
    } catch (error) {
      throw error === refused && now() - began > 2000 ? blocked : error; // browsers give up, too
    }
  }

  async function attempt(transport: Transport, work: (signal: AbortSignal) => Promise<Result>): Promise<Checked> {
    // By hand: AbortSignal.any is younger than other things that this needs.
    const stop = new AbortController();
    const giveUp = (): void => stop.abort();
    const timer = setTimeout(giveUp, options.timeout ?? 5000);
    options.signal?.addEventListener("abort", giveUp, { signal: stop.signal });
    let checked: Checked;
    try {
      checked = { transport, works: true, ...(await work(stop.signal)) };
    } catch (error) {
      options.signal?.throwIfAborted();
      const no = error instanceof No ? error : stop.signal.aborted ? new No("unanswered", timeUp) : new No("cut", `the connection was cut: ${error}`);
      checked = { transport, works: false, cause: no.cause, why: no.message };
    } finally {
      clearTimeout(timer);
      giveUp();
    }
    options.onresult?.(checked);
    return checked;
  }

  // What becomes of a poll says whether a stream is held back, or nothing is answered.
  results.unshift(await attempt("poll", (signal) => polled("as=poll&after=now", [0, 0], signal)));
  const session = attempt("webtransport", webtransport);
  session.catch(() => {}); // who aborts is told by the others
  results.unshift(await attempt("longpoll", (signal) => polled("as=longpoll&after=now", [0, 0, 1], signal)));
  results.unshift(await attempt("stream", (signal) => streamed("as=stream", /^(.*)\n/, signal)));
  results.unshift(await attempt("sse", (signal) => streamed("as=sse&envelope", /^data: (.*)\n\n/m, signal)));
  const socket = await attempt("websocket", websocket);
  results.unshift(socket, await session);
  return advise(results);
}

/** The id of the first message. */
function firstMessage(socket: Socket, signal: AbortSignal, refused: No, unanswered: No = new No("unanswered", timeUp)): Promise<string> {
  return new Promise((done, fail) => {
    let opened = false;
    const no = (why: No): void => {
      fail(why);
      socket.close();
    };
    signal.onabort = () => no(opened ? new No("silent", "the handshake was answered, and then nothing: a black hole") : unanswered);
    socket.onopen = () => (opened = true);
    socket.onmessage = ({ data }: MessageEvent<string>) => {
      done(JSON.parse(data).id ?? "");
      socket.close();
    };
    socket.onclose = ({ code }) => no(opened ? new No("cut", `the connection was cut: ${code}`) : refused);
  });
}

function advise(results: Checked[]): CheckReport {
  const [ws, wt, sse, , , poll] = results as [Checked, Checked, Checked, Checked, Checked, Checked];
  const best = results.find((r) => r.works && r !== wt)?.transport;
  const advice: string[] = [];
  if (!best) advice.push(`Nothing gets through: ${poll.why}.`);
  else if (ws.works) advice.push("Clients will use WebSockets.");
  else advice.push(`Clients will use ${best}, because WebSockets do not get through: ${ws.why}.`);
  if (best && wt.works) advice.push(ws.works ? "WebTransport works, too." : `WebTransport gets through, over one connection for both directions: clients take it that name it before ${best}.`);
  if (best && wt.cause === "udp-blocked") advice.push("UDP does not get through, which HTTP/3 and WebTransport need: let it pass to the port with the number of the TCP port.");
  if (best && sse.cause === "held") advice.push("Streams are held back: switch off buffering and compression (nginx: proxy_buffering off; gzip off;).");
  return { results, best, advice: advice.join(" ") };
}
