import type { Publication, TopicEvent } from "./api.ts";
import type { DuplexError } from "./errors.ts";
import type { Http } from "./http.ts";

/** Opens a stream of the events of names after a cursor, `earliest` or `now`. It tries once. */
export type Open = (http: Http, names: readonly string[], after: string, to: Receiver) => Stream;

/** Who gets what comes, and hears nothing that follows `lost`, which closes the stream, or its `close`. */
export interface Receiver {
  /** Something came; the next has to within 1.5 intervals of `$ping`. */
  heard(): void;
  /** An event or a signal; the first message is a signal, as a sign that the transport works. */
  message(event: TopicEvent): void;
  /** The milliseconds from a question to its answer, which may say the version of HTTP. */
  answered(ms: number, version?: string): void;
  lost(error: DuplexError): void;
}

export interface Stream {
  close(): void;
  /** Adds a name, from the cursor on that it resolves with, or takes one away, without another stream. Rejects if it is refused. */
  change?(op: "subscribe" | "unsubscribe", name: string): Promise<string>;
  /** Asks for an answer, which `heard` will tell of. */
  ping?(): void;
  /** Only of text and JSON. What was given earlier is stored earlier. */
  publish?(publication: Publication): Promise<string>;
}
