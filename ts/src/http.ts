import type { Options, Page } from "./api.ts";
import { DuplexError, ended, refusal } from "./errors.ts";
import { parse } from "./event.ts";
import type { Receiver, Stream } from "./transport.ts";

/** Names that make a longer query go into a body: proxies take about 8 kB. */
const longestQuery = 4000;

export type Query = Record<string, string | number | true | undefined>;

/** The server's requests. */
export class Http {
  readonly base: string;
  readonly options: Options;
  readonly WebSocket: Options["WebSocket"];

  constructor(base: string, options: Options) {
    this.base = base;
    this.options = options;
    ({ WebSocket: this.WebSocket = globalThis.WebSocket } = options);
  }

  async token(): Promise<string | undefined> {
    const { token, getToken } = this.options;
    return (await getToken?.()) ?? token;
  }

  /** Of a topic, a pattern, or several of them. */
  url(names: readonly string[], query: Query = {}): string {
    const url = new URL(`${this.base}/topics`);
    const { searchParams } = url;
    if (names.length === 1) url.pathname += "/" + names[0]!.split("/").map(encodeURIComponent).join("/");
    else for (const name of names) searchParams.append("topic", name);
    for (const key in query) if (query[key] !== undefined) searchParams.append(key, query[key] as string);
    return url.href;
  }

  /** An answer that is not one of success is thrown. After a 401, the token is asked for once more. */
  async request(url: string, init: RequestInit = {}): Promise<Response> {
    for (let tries = 0; ; tries++) {
      const token = await this.token();
      const headers = new Headers(init.headers);
      if (token) headers.set("Authorization", `Bearer ${token}`);
      let response: Response;
      try {
        response = await (this.options.fetch ?? fetch)(url, { cache: "no-store", ...init, headers });
      } catch (error) {
        init.signal?.throwIfAborted();
        throw failure(error);
      }
      const { ok, status } = response;
      const media = response.headers.get("content-type");
      // What has no body has no type. A network that wants a login answers with a page.
      if (ok && /json|stream|null/.test(media!)) return response;
      const refused = ok ? new DuplexError("no-duplex", `not the server's answer: ${status} ${media}`) : await refusal(response);
      if (status !== 401 || tries || !this.options.getToken) throw refused;
    }
  }

  /** Reads on, by GET, or by POST if there are too many names for a URL. */
  async read(names: readonly string[], query: Query, signal?: AbortSignal): Promise<Response> {
    query = { ...query, member: this.options.member };
    let url = this.url(names, query);
    let init: RequestInit = { signal };
    if (url.length >= longestQuery) {
      url = this.url([], query);
      init = {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ topic: names }),
        signal,
      };
    }
    const response = await this.request(url, init);
    if (response.status === 204) throw ended();
    return response;
  }

  async page(names: readonly string[], query: Query, signal?: AbortSignal): Promise<Page> {
    return parsePage(await this.read(names, { as: "poll", ...query }, signal), signal);
  }
}

export async function parsePage(response: Response, signal?: AbortSignal): Promise<Page> {
  try {
    const page = await response.json();
    if (!Array.isArray(page.events)) throw new TypeError("no page");
    page.events.forEach(parse);
    return page;
  } catch (error) {
    signal?.throwIfAborted();
    throw failure(error);
  }
}

/** A stream of requests, of which what `run` throws is the end. */
export function requests(to: Receiver, run: (signal: AbortSignal) => Promise<void>): Stream {
  const abort = new AbortController();
  run(abort.signal).catch((error) => to.lost(failure(error)));
  return { close: () => abort.abort() };
}

/** What fetch, or reading a body, has thrown. */
export function failure(error: unknown): DuplexError {
  if (error instanceof DuplexError) return error;
  const { cause, message } = error as { cause?: { code?: string; message?: string }; message?: string };
  // Only node says that nothing was sent; browsers keep it to themselves.
  const unreachable =
    globalThis.navigator?.onLine === false || /REFUSED|NOTFOUND|AI_AGAIN|UNREACH/.test(cause?.code ?? "");
  return new DuplexError(unreachable ? "unreachable" : "cut", cause?.message || cause?.code || message || String(error));
}
