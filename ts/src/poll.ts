import type { TopicEvent } from "./api.ts";
import { now, rest, sleep, tired } from "./clock.ts";
import { ended } from "./errors.ts";
import { parsePage, requests } from "./http.ts";
import type { Open } from "./transport.ts";

/** Milliseconds between polls that found nothing. */
const interval = 1000;
/** Seconds that an answer may take, with what is between polls. */
const patience = 10;

/** One page after the other, which the server may hold for some seconds. */
const pages =
  (as: "longpoll" | "poll", hold: number): Open =>
  (http, names, after, to) =>
    requests(to, async (signal) => {
      for (let first = true; !signal.aborted; first = false) {
        const began = now();
        const wait = first ? 0 : hold;
        // The first page is for its cursor, and so that it comes at once.
        const page = await parsePage(await http.read(names, { as, wait, after, limit: 1000 }, signal), signal);
        to.heard();
        if (!wait) to.answered(now() - began);
        const told = (event: string, data: object, id = ""): TopicEvent => ({ id, topic: "", event, data });
        const messages = [...page.events, ...(page.ends ?? []), told("$ping", { interval: (hold + patience) / 1.5 }, page.cursor)];
        if (page.gap) messages.unshift(told("$gap", { oldest: page.cursor, ...page.gap }));
        for (const message of messages) {
          to.message(message);
          if (tired()) await rest();
        }
        if (page.end) throw ended();
        after = page.cursor;
        if (!hold && !page.more) await sleep(interval, signal);
      }
    });

/** Pages that are held until there is an event (PROTOCOL.md §5.6), below what proxies cut: many do after 30 s. */
export const longpoll: Open = pages("longpoll", 25);

/** Pages at once (PROTOCOL.md §5.5): it always gets through. */
export const poll: Open = pages("poll", 0);
