import type { Publication } from "./api.ts";
import { now } from "./clock.ts";
import { DuplexError, problemOf } from "./errors.ts";
import { parse, written } from "./event.ts";
import type { Http } from "./http.ts";
import type { Open, Receiver, Stream } from "./transport.ts";

/** What follows from a close (PROTOCOL.md §8.8): after a fault, the same connection would fail again. */
const codes: Record<number, string> = { 1002: "fault", 1003: "fault", 1007: "fault", 1009: "too-big" };

/** What of a WebSocket this uses. */
export type Socket = Pick<WebSocket, "readyState" | "protocol" | "send" | "close" | "onopen" | "onmessage" | "onerror" | "onclose">;

/** A session of WebTransport, by a module of its own that few load (PROTOCOL.md §16). */
export const webtransport: Open = (http, names, after, to) =>
  websocket(http, names, after, to, async (url, protocols) => new (await import("./webtransport.js")).Session(url, protocols));

/** The subprotocol duplex.v1 (PROTOCOL.md §8.3): one connection that carries all, both ways. */
export function websocket(
  http: Http,
  names: readonly string[],
  after: string,
  to: Receiver,
  open: (url: string, protocols: string[]) => Socket | Promise<Socket> = (url, protocols) => new http.WebSocket!(url.replace(/^http/, "ws"), protocols),
): Stream {
  const answers = new Map<number, { done: (said: string) => void; failed: (e: DuplexError) => void }>();
  let socket: Socket | undefined;
  let over = false;
  let refs = 0;

  const lost = (error: DuplexError) => {
    for (const answer of answers.values()) answer.failed(error);
    answers.clear();
    to.lost(error);
  };

  const say = (op: object, publication?: Publication): Promise<string> =>
    new Promise((done, failed) => {
      if (socket?.readyState !== 1) return failed(new DuplexError("unreachable", "not connected"));
      answers.set(++refs, { done, failed });
      socket.send(written({ ref: refs, ...op }, publication));
    });

  const ping = () => {
    const asked = now();
    say({ op: "ping" }).then(
      (version) => to.answered(now() - asked, version),
      () => {}, // lost says so
    );
  };

  const message = (text: string) => {
    const m = JSON.parse(text);
    to.heard();
    if (!m.op) return to.message(parse(m));
    const answer = answers.get(m.ref);
    answers.delete(m.ref);
    if (m.op === "ok") answer?.done(m.id ?? m.http);
    else answer?.failed(problemOf(m));
  };

  const connect = async () => {
    const token = await http.token();
    if (over) return;
    socket = await open(http.url(names, { after, member: http.options.member }), token ? ["duplex.v1", `bearer.${token}`] : ["duplex.v1"]);
    if (over) return socket.close();
    socket.onopen = () => {
      if (socket!.protocol === "duplex.v1") ping();
      else lost(new DuplexError("no-duplex", "no duplex.v1"));
    };
    socket.onmessage = ({ data }) => {
      try {
        message(data);
      } catch (error) {
        lost(new DuplexError("no-duplex", String(error)));
      }
    };
    // Not all are closed that were never open.
    socket.onerror = () => refs || lost(new DuplexError("cut", "the handshake failed"));
    socket.onclose = ({ code, reason }) =>
      lost(new DuplexError(codes[code] ?? "cut", `closed: ${code} ${reason}`.trim(), 0, code === 1001 ? 1000 + Math.random() * 3000 : 0));
  };
  connect().catch((error) => lost(new DuplexError("cut", String(error))));

  return {
    ping,
    close() {
      over = true;
      socket?.close(); // also one that connects: browsers let the next one to this host wait for it
      lost(new DuplexError("cut", "closed"));
    },
    change: (op, topic) => say({ op, topic }),
    publish: (publication: Publication) => {
      const { topic, event, key } = publication;
      return say({ op: "publish", topic, event, key }, publication);
    },
  };
}
