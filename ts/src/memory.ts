import type { Transport } from "./api.ts";

/** The transport that worked last for an origin is remembered for 24 h (PROTOCOL.md §15.3). */
const expiry = 24 * 3600_000;

const key = (url: string) => `duplex:transport:${new URL(url).origin}`;

export function recall(url: string): Transport | undefined {
  try {
    const [transport, time] = localStorage.getItem(key(url))!.split(" ");
    return Date.now() - +time! < expiry ? (transport as Transport) : undefined;
  } catch {} // there is none, or the page may not have it
}

export function note(url: string, transport: Transport): void {
  try {
    localStorage.setItem(key(url), `${transport} ${Date.now()}`);
  } catch {}
}
