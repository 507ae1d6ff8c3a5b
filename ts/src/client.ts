import type { Options } from "./api.ts";

/** A client of one server. */
export class Duplex extends EventTarget {
  readonly url: string;

  /** `url` is that of the server, as `https://example.com`, or with a path behind a proxy. */
  constructor(url: string | URL, _options: Options = {}) {
    super();
    this.url = new URL(url, globalThis.location?.href).href.replace(/\/+$/, "");
  }
}
