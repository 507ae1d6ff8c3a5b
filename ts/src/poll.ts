import type { TopicEvent } from "./api.ts";
import { now, rest, sleep, tired } from "./clock.ts";
import { DuplexError } from "./errors.ts";
import { failure, parsePage, type Http } from "./http.ts";
import type { Receiver, Stream } from "./transport.ts";

/** Below what proxies cut: many do after 30 s. */
const hold = 25;
/** Milliseconds between polls that found nothing. */
const interval = 1000;
/** Seconds that an answer may take, with what is between polls. */
const patience = 10;

/** Pages that are held until there is an event (PROTOCOL.md §5.6). */
export function longpoll(http: Http, names: readonly string[], after: string, to: Receiver): Stream {
  return pages(http, names, after, to, hold);
}

/** Pages at once (PROTOCOL.md §5.5): it always gets through. */
export function poll(http: Http, names: readonly string[], after: string, to: Receiver): Stream {
  return pages(http, names, after, to, 0);
}

function pages(http: Http, names: readonly string[], after: string, to: Receiver, hold: number): Stream {
  const abort = new AbortController();
  const { signal } = abort;

  const run = async () => {
    for (let first = true; ; first = false) {
      const began = now();
      const wait = first ? 0 : hold;
      // The first page is for its cursor, and so that it comes at once.
      const query = { as: hold ? "longpoll" : "poll", wait, after, limit: 1000 };
      const page = await parsePage(await http.read(names, query, signal), signal);
      if (signal.aborted) return;
      to.heard();
      if (!wait) to.answered(now() - began);
      const told = (event: string, data: object, id = ""): TopicEvent => ({ id, topic: "", event, data });
      const messages = [...page.events, told("$ping", { interval: (hold + patience) / 1.5 }, page.cursor)];
      if (page.gap) messages.unshift(told("$gap", { oldest: page.cursor, ...page.gap }));
      for (const message of messages) {
        to.message(message);
        if (tired()) await rest();
        if (signal.aborted) return;
      }
      if (page.end) throw new DuplexError("end", "the topic has ended", 204);
      after = page.cursor;
      if (!hold && !page.more) await sleep(interval, signal);
      if (signal.aborted) return;
    }
  };
  run().catch((error) => {
    if (signal.aborted) return;
    abort.abort();
    to.lost(failure(error));
  });
  return { close: () => abort.abort() };
}
