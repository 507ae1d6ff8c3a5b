import type { Transport } from "./api.ts";

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
  | "not-offered" | "unreached" | "udp-blocked" | "upgrade-refused" | "unanswered" | "silent" | "held" | "cut"
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
