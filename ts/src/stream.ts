import type { TopicEvent } from "./api.ts";
import { now, rest, tired } from "./clock.ts";
import { DuplexError, ended } from "./errors.ts";
import { parse } from "./event.ts";
import { failure, requests } from "./http.ts";
import type { Open } from "./transport.ts";

/**
 * An answer without end, read by fetch, which can send a token and works in workers. With `envelope`
 * each event of an event stream is one line of JSON, too.
 */
const endless =
  (as: "sse" | "stream"): Open =>
  (http, names, after, to) =>
    requests(to, async (signal) => {
      const began = now();
      let retry = 0;
      let last: TopicEvent | undefined;
      const cut = (why: string) => new DuplexError("cut", why, 0, retry);
      const response = await http.read(names, { as, envelope: 1, after }, signal);
      const reader = response.body!.getReader();
      const text = new TextDecoder();
      let left = "";
      for (;;) {
        const { done, value } = await reader.read().catch((error) => {
          throw cut(failure(error).message);
        });
        if (done) throw last?.event === "$end" ? ended() : cut("ended");
        to.heard();
        const lines = (left + text.decode(value, { stream: true })).split("\n");
        left = lines.pop()!; // what the connection's end cuts off does not count
        for (const line of lines) {
          if (line.startsWith("retry:")) retry = Number(line.slice(6));
          const json = line.replace(/^data:/, "").trim();
          if (json[0] !== "{") continue;
          if (!last) to.answered(now() - began);
          to.message((last = parse(JSON.parse(json))));
          if (tired()) await rest();
        }
      }
    });

/** Lines of JSON (PROTOCOL.md §5.10). */
export const stream: Open = endless("stream");

/** An event stream (PROTOCOL.md §5.9). */
export const sse: Open = endless("sse");
