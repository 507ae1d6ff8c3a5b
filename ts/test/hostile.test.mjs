// Networks that let only some transports through. How long the first event takes is shown, not judged:
// the machine may be busy.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { Duplex } from "../dist/client.js";
import { collect, proxy, serve, sleep, until } from "./server.mjs";

const isStream = (req) => /as=(sse|stream)/.test(req.url);
const refuse = (status) => (_, socket) => socket.end(`HTTP/1.1 ${status} No\r\nContent-Length: 0\r\n\r\n`) && true;

const cases = {
  "nothing is wrong": { spoil: {}, want: "websocket" },
  "403 on Upgrade": { spoil: { upgrade: refuse(403) }, want: "sse" },
  "Upgrade never answered": { spoil: { upgrade: () => true }, want: "sse" },
  "101, then a black hole": {
    spoil: {
      upgrade(req, socket) {
        const accept = createHash("sha1").update(req.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest("base64");
        const head = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", `Sec-WebSocket-Accept: ${accept}`, "Sec-WebSocket-Protocol: duplex.v1"];
        return socket.write(head.join("\r\n") + "\r\n\r\n") || true;
      },
    },
    want: "sse",
  },
  "event streams are held to their end": { spoil: { upgrade: refuse(403), body: (req, chunk) => (/as=sse/.test(req.url) ? null : chunk) }, want: "stream" },
  "all streams are held to their end": { spoil: { upgrade: refuse(403), body: (req, chunk) => (isStream(req) ? null : chunk) }, want: "longpoll" },
  "held requests get 504": {
    spoil: { upgrade: refuse(502), request: (req, res) => /as=(sse|stream|longpoll)/.test(req.url) && (res.writeHead(504).end(), true) },
    want: "poll",
  },
};

for (const [name, { spoil, want }] of Object.entries(cases)) {
  test(name, async (t) => {
    const server = await serve(t);
    const front = await proxy(t, server, spoil);
    const client = new Duplex(front.url);
    t.after(() => client.close());
    const began = performance.now();
    const take = collect();
    await client.subscribe("a/*", take).ready;
    const id = await client.publish("a/b", { n: 1 });
    await until("the event", () => take.events.length);
    const took = performance.now() - began;
    t.diagnostic(`first event after ${Math.round(took)} ms over ${client.status.transport}: ${JSON.stringify(client.status.failed)}`);
    assert.deepEqual(take.ids(), [id]);
    await until(want, () => client.status.transport === want); // on a busy machine it may have been late
  });
}

test("a connection that is cut in the middle of an event", async (t) => {
  const server = await serve(t);
  for (const transport of ["sse", "stream"]) {
    const front = await proxy(t, server, {});
    const client = new Duplex(front.url, { transports: [transport] });
    const take = collect();
    await client.subscribe(`cut/${transport}`, take).ready;
    const publisher = new Duplex(server.url);
    const ids = [await publisher.publish(`cut/${transport}`, "one")];
    await until("the first event", () => take.events.length === 1);
    front.spoil = { body: (req, chunk) => (setTimeout(front.cut, 5), isStream(req) ? chunk.subarray(0, chunk.length - 7) : chunk) };
    ids.push(await publisher.publish(`cut/${transport}`, "two"));
    await sleep(50);
    front.spoil = {};
    ids.push(await publisher.publish(`cut/${transport}`, "three"));
    await until("all events", () => take.events.length === 3);
    assert.deepEqual(take.ids(), ids);
    assert.deepEqual(take.events.map((e) => e.data), ["one", "two", "three"]);
    client.close();
    publisher.close();
  }
});
