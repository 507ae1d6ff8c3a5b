// The choice of a transport, to the millisecond (PROTOCOL.md §15.3, §15.4).
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Duplex } from "../dist/client.js";
import { bundle } from "./bundle.mjs";
import { serve } from "./server.mjs";

const { Choice } = await bundle("choice");
const { Backoff } = await bundle("backoff");
const { Client } = await bundle("client");

/** What happens to transports, and what the choice does: the table of all clients, which client/choice_test.go explains. */
const cases = JSON.parse(readFileSync(new URL("../../client/testdata/choices.json", import.meta.url)));

/** Has everything happen, and tells what the choice does. */
function play({ allowed = ["websocket", "sse", "stream", "longpoll", "poll"], first, remembered, events }) {
  const choice = new Choice(allowed, 0, first, remembered);
  const happens = events ? events.split(", ").map((event) => event.split(" ")) : [];
  const did = [];
  for (let now = 0; ; ) {
    const { begin, adopt, wake } = choice.next(now);
    if (begin) did.push(`${now} +${begin}`);
    else if (!wake) return [...did, adopt ? `${now} =${adopt}` : `${now} over`].join(", ");
    else if (!happens.length || happens[0][0] > wake) now = wake;
    else {
      const [at, transport, what] = happens.shift();
      now = +at;
      if (what === "works") choice.works(transport, now);
      else choice.failed(transport);
    }
  }
}

for (const choice of cases) test(choice.name, () => assert.equal(play(choice), choice.want));

test("a choice that is stopped takes what there is", () => {
  const choice = new Choice(["websocket", "sse"], 0);
  assert.deepEqual([choice.next(0), choice.next(400)], [{ begin: "websocket" }, { begin: "sse" }]);
  choice.works("sse", 500);
  assert.deepEqual(choice.next(500), { wake: 750 });
  choice.stop();
  assert.deepEqual(choice.next(500), { adopt: "sse" });
  choice.failed("sse");
  assert.deepEqual(choice.next(500), {});
});

test("a better transport is looked for, and taken over", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let clock = 0;
  t.mock.method(performance, "now", () => clock + 1);
  t.mock.method(Math, "random", () => 0.5);
  const tick = async (ms) => {
    for (const end = clock + ms; clock < end; ) {
      clock += 100;
      t.mock.timers.tick(100);
      for (let i = 0; i < 5; i++) await new Promise(setImmediate);
    }
  };

  // A network that refuses WebSockets until it is told otherwise, and a server that only pings.
  let refuses = true;
  const handshakes = [];
  class Socket {
    readyState = 0;
    protocol = "duplex.v1";
    constructor() {
      handshakes.push(clock);
      setImmediate(() => {
        if (refuses) return this.onerror();
        this.readyState = 1;
        this.onopen();
        this.onmessage({ data: `{"id":"x-1","event":"$ping","data":{"interval":1000}}` });
      });
    }
    send() {}
    close() {}
  }
  const ping = new TextEncoder().encode(`data: {"id":"x-1","event":"$ping","data":{"interval":1000}}\n\n`);
  const fetch = async () => new Response(new ReadableStream({ start: (stream) => stream.enqueue(ping) }), { headers: { "Content-Type": "text/event-stream" } });

  const client = new Duplex("http://duplex.test", { WebSocket: Socket, fetch, transports: ["websocket", "sse"] });
  const { ready } = client.subscribe("a", () => {});
  await tick(500);
  await ready;
  assert.equal(client.status.transport, "sse");
  await tick(100_000);
  assert.deepEqual(handshakes.map((at) => Math.round(at / 1000)), [0, 30, 90]);
  refuses = false;
  await tick(130_000);
  assert.equal(client.status.transport, "websocket");
  assert.deepEqual(handshakes.map((at) => Math.round(at / 1000)), [0, 30, 90, 210]);
  assert.deepEqual(client.status.failed, {});
  client.close();
});

test("a page whose timers are late loses no connection that works", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let clock = 1;
  t.mock.method(performance, "now", () => clock);
  const sockets = [];
  class Socket {
    readyState = 1;
    protocol = "duplex.v1";
    said = [];
    constructor() {
      sockets.push(this);
      setImmediate(() => (this.onopen(), this.ping()));
    }
    ping() {
      this.onmessage({ data: `{"id":"x-1","event":"$ping","data":{"interval":25}}` });
    }
    send(text) {
      this.said.push(JSON.parse(text).op);
    }
    close() {}
  }
  const client = new Duplex("http://duplex.test", { WebSocket: Socket, transports: ["websocket"] });
  await client.subscribe("a", () => {}).ready;
  // The page slept for ten minutes, and what the server has sent has still to be read.
  clock += 600_000;
  t.mock.timers.tick(37_500);
  assert.equal(client.status.state, "connected");
  assert.deepEqual(sockets[0].said, ["ping", "ping"], "it asks");
  sockets[0].ping();
  clock += 2000;
  t.mock.timers.tick(2000);
  assert.equal(client.status.state, "connected");
  // Then nothing comes any more, and the timers are on time.
  clock += 35_500;
  t.mock.timers.tick(35_500);
  assert.equal(client.status.state, "waiting");
  assert.equal(client.status.error.code, "silent");
  client.close();
});

// "any time below 1.5 s, and after further failures in a row between half and the whole of 3 s, 6 s" (PROTOCOL.md §15.6).
test("the wait after failures in a row", (t) => {
  for (const [random, want] of [[0, [0, 1500, 3000, 6000, 12_000, 15_000, 15_000]], [1, [1500, 3000, 6000, 12_000, 24_000, 30_000, 30_000]]]) {
    t.mock.method(Math, "random", () => random);
    const backoff = new Backoff();
    assert.deepEqual(want.map(() => backoff.next()), want);
    assert.equal(backoff.next({ retryAfter: 4000 }), 4000 + random * 2000);
    backoff.failures = 0;
    assert.equal(backoff.next(), want[0]);
  }
});

test("only a choice among all is remembered", async (t) => {
  const server = await serve(t);
  const kept = new Map();
  globalThis.localStorage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) };
  t.after(() => delete globalThis.localStorage);
  const all = ["websocket", "sse", "stream", "longpoll", "poll"];
  for (const [options, used, want] of [[{ transports: ["longpoll"] }, undefined, []], [{}, ["longpoll"], []], [{}, undefined, ["websocket"]], [{ transports: ["poll"] }, all, ["websocket"]]]) {
    const client = new Duplex(server.url, options);
    t.after(() => client.close());
    if (used) client.use(used);
    await client.subscribe("a", () => {}).ready;
    assert.deepEqual([...kept.values()].map((text) => text.split(" ")[0]), want);
    kept.clear();
  }
});

// "It begins with the transport that worked last" (PROTOCOL.md §15.3).
test("what does not get through is not tried first again after a loss, but in another network", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let clock = 0;
  t.mock.method(performance, "now", () => clock + 1);
  t.mock.method(Math, "random", () => 0.5);
  const tick = async (ms) => {
    for (const end = clock + ms; clock < end; ) {
      clock += 50;
      t.mock.timers.tick(50);
      for (let i = 0; i < 5; i++) await new Promise(setImmediate);
    }
  };
  // Handshakes are not answered.
  const begun = [];
  class Socket {
    constructor() {
      begun.push("websocket");
    }
    close() {}
  }
  const ping = new TextEncoder().encode(`data: {"id":"x-1","event":"$ping","data":{"interval":1000}}\n\n`);
  let stream;
  const fetch = async () => {
    begun.push("sse");
    return new Response(new ReadableStream({ start: (s) => (stream = s).enqueue(ping) }), { headers: { "Content-Type": "text/event-stream" } });
  };
  let direct;
  const client = new Client("http://duplex.test", { WebSocket: Socket, fetch, transports: ["websocket", "sse"], between: (own, changed) => (direct = own(changed)) });
  client.subscribe("a", () => {});
  await tick(1000);
  assert.deepEqual([client.status.transport, ...begun.splice(0)], ["sse", "websocket", "sse"]);
  await tick(10_000); // so that the connection has lasted
  stream.error(new TypeError("cut"));
  await tick(100);
  assert.equal(client.status.state, "waiting");
  await tick(750); // half of 1.5 s
  assert.deepEqual([client.status.state, client.status.transport, ...begun.splice(0)], ["connected", "sse", "sse"]);
  await tick(10_000);
  stream.error(new TypeError("cut"));
  await tick(100);
  direct.check(true);
  await tick(1000);
  assert.deepEqual([client.status.state, client.status.transport, ...begun.splice(0)], ["connected", "sse", "websocket", "sse"]);
  client.close();
});
