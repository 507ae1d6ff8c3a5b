// A session of WebTransport (PROTOCOL.md §16) in the form of a WebSocket, as which the client uses it.
// A module of its own: it is loaded when this transport is tried.

import { rest, tired } from "./clock.ts";

/** What of a WebSocket the client uses, over a session: the lines of its stream are the messages. */
export class Session {
  readyState: WebSocket["readyState"] = 0;
  readonly protocol: string = "duplex.v1";
  onopen: ((event: any) => void) | null = null;
  onmessage: ((event: any) => void) | null = null;
  onerror: ((event: any) => void) | null = null;
  onclose: ((event: any) => void) | null = null;
  #transport: WebTransport;
  #writer: WritableStreamDefaultWriter<Uint8Array> | undefined;

  constructor(url: string, protocols: readonly string[]) {
    if (!globalThis.WebTransport) throw new TypeError("there is no WebTransport");
    if (protocols.length > 1) throw new TypeError("a page's WebTransport carries no token");
    this.#transport = new WebTransport(url);
    this.#read()
      .then(() => this.#transport.closed)
      .then(
        ({ closeCode: code, reason }) => this.onclose?.({ code, reason }),
        (error) => this.onclose?.({ code: 1006, reason: String(error) }),
      )
      .finally(() => (this.readyState = 3));
  }

  async #read(): Promise<void> {
    this.#transport.closed.catch(() => {}); // this throws, too
    await this.#transport.ready;
    const { readable, writable } = await this.#transport.createBidirectionalStream();
    this.#writer = writable.getWriter();
    this.readyState = 1;
    this.onopen?.({});
    const reader = readable.getReader();
    const text = new TextDecoder();
    let left = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (left + text.decode(value, { stream: true })).split("\n");
      left = lines.pop()!; // what has no end does not count
      for (const data of lines) {
        if (data) this.onmessage?.({ data });
        if (tired()) await rest();
      }
    }
  }

  send(text: string): void {
    this.#writer?.write(new TextEncoder().encode(text + "\n")).catch(() => {}); // the reader is told
  }

  close(): void {
    this.readyState = 3;
    try {
      this.#transport.close({ closeCode: 1000, reason: "" });
    } catch {} // it failed already
  }
}
