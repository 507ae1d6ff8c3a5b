import { now, rest, tired } from "./clock.ts";
import { DuplexError } from "./errors.ts";
import { parse } from "./event.ts";
import { failure, type Http } from "./http.ts";
import type { Receiver, Stream } from "./transport.ts";

/** Lines of JSON without end (PROTOCOL.md §5.10). */
export function stream(http: Http, names: readonly string[], after: string, to: Receiver): Stream {
  return read(http, names, { as: "stream", after }, to, (line) => line);
}

/**
 * An event stream (PROTOCOL.md §5.9), read by fetch, which can send a token and works in workers.
 * With `envelope` each event is one line of JSON after "data:".
 */
export function sse(http: Http, names: readonly string[], after: string, to: Receiver): Stream {
  return read(http, names, { as: "sse", envelope: 1, after }, to, (line, retry) => {
    if (line.startsWith("retry:")) retry(Number(line.slice(6)));
    return line.startsWith("data:") ? line.slice(5) : "";
  });
}

/** `json` gives the JSON of a line, or nothing. */
function read(
  http: Http,
  names: readonly string[],
  query: { as: string; envelope?: number; after: string },
  to: Receiver,
  json: (line: string, retry: (ms: number) => void) => string,
): Stream {
  const abort = new AbortController();
  const { signal } = abort;
  const began = now();
  let retry = 0;
  let first = true;

  const run = async () => {
    const response = await http.read(names, query, signal);
    if (response.status === 204) throw new DuplexError("end", "the topic has ended", 204);
    if (!response.body) throw new DuplexError("unsupported", "no streams");
    const reader = response.body.getReader();
    const text = new TextDecoder();
    let left = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (signal.aborted) return;
      if (done) throw new DuplexError("cut", "ended", 0, retry);
      to.heard();
      const lines = (left + text.decode(value, { stream: true })).split("\n");
      left = lines.pop()!; // what the connection's end cuts off does not count
      for (const line of lines) {
        const event = json(line, (ms) => (retry = ms));
        if (!event.trim()) continue;
        if (first) to.answered(now() - began);
        first = false;
        to.message(parse(JSON.parse(event)));
        if (tired()) await rest();
        if (signal.aborted) return;
      }
    }
  };
  run().catch((error) => {
    if (signal.aborted) return;
    abort.abort();
    const e = failure(error);
    to.lost(e.code === "cut" && retry ? new DuplexError(e.code, e.message, 0, retry) : e);
  });
  return { close: () => abort.abort() };
}
