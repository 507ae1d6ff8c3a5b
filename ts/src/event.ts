import type { Publication, TopicEvent } from "./api.ts";

/** Completes an event or a signal as it comes in JSON (PROTOCOL.md §3.4). */
export function parse(event: TopicEvent): TopicEvent {
  event.event ??= "message";
  if (event.binary) {
    const [media, text] = event.data.slice(5).split(";base64,"); // it is a data: URL
    event.media ??= media;
    event.data = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  }
  return event;
}

/** The topic that an event is of, or that has ended. */
export function topicOf({ event, topic, data }: TopicEvent): string {
  return event === "$end" ? data.topic : topic;
}

/** Whether a topic is one of the names, or matches one of the patterns (PROTOCOL.md §2.2). */
export function matches(names: Iterable<string>, topic: string): boolean {
  const segments = topic.split("/");
  for (const name of names) {
    if (name === topic) return true;
    if (!name.includes("*")) continue;
    const pattern = name.split("/");
    const rest = pattern.at(-1) === "**";
    if (
      (rest ? segments.length >= pattern.length : segments.length === pattern.length) &&
      // "Wildcards never match such a segment": one that begins with "$" (§2.3).
      segments.every((s, i) => (i >= pattern.length || pattern[i]![0] === "*" ? s[0] !== "$" : pattern[i] === s))
    )
      return true;
  }
  return false;
}

/** Refuses what would become another URL. The rest is the server's to judge. */
export function checkName(name: string): void {
  if (typeof name !== "string" || /(^|\/)\.{0,2}(\/|$)/.test(name)) throw new TypeError(`no topic or pattern: ${name}`);
}

/** How many characters a duplex.v1 message may have: a server closes for what is too long, and refuses a POST alone. */
const longestMessage = 30_000;

/** Whether a duplex.v1 message can say it; much or binary data, batches and other media types need a POST. */
export function isPlain({ data, media, post }: Publication): boolean {
  return !post && typeof data === "string" && data.length < longestMessage && (media === "application/json" ? data[0] !== '"' : media === "text/plain");
}

/** An object as JSON, with the data of a publication, which may be JSON already that has to stay as it is. */
export function written(object: object, publication?: Publication): string {
  const text = JSON.stringify(object);
  if (!publication) return text;
  const { data, media } = publication;
  return `${text.slice(0, -1)},"data":${media === "application/json" ? data : JSON.stringify(data)}}`;
}
