// The choice of a transport, to the millisecond (PROTOCOL.md §15.3, §15.4).
import assert from "node:assert/strict";
import { test } from "node:test";
import { Duplex } from "../dist/client.js";
import { bundle } from "./bundle.mjs";
import { serve } from "./server.mjs";

const { choose } = await bundle("choice");
const { Backoff } = await bundle("backoff");

/** `at`: what happens to a transport, by the millisecond; `want`: what the choice does. */
const cases = {
  "the preferred one works": { at: { 20: "works a" }, want: ["0 begin a", "20 chosen a"] },
  "it fails, the next begins at once": { at: { 20: "failed a", 30: "works b" }, want: ["0 begin a", "20 begin b", "30 chosen b"] },
  "it is silent, the next begins after 400 ms, and it has 250 ms more": {
    at: { 500: "works b" },
    want: ["0 begin a", "400 begin b", "750 drop a", "750 chosen b"],
  },
  "it works in the 250 ms": { at: { 500: "works b", 700: "works a" }, want: ["0 begin a", "400 begin b", "700 drop b", "700 chosen a"] },
  "it fails in the 250 ms": { at: { 500: "works b", 600: "failed a" }, want: ["0 begin a", "400 begin b", "600 chosen b"] },
  "one that is less preferred comes too late": { at: { 420: "works a", 430: "works b" }, want: ["0 begin a", "400 begin b", "420 drop b", "420 chosen a"] },
  "all are silent": { at: {}, want: ["0 begin a", "400 begin b", "800 begin c", "30000 drop a", "30000 drop b", "30000 drop c", "30000 chosen none"] },
  "all fail": { at: { 10: "failed a", 20: "failed b", 30: "failed c" }, want: ["0 begin a", "10 begin b", "20 begin c", "30 chosen none"] },
  "the remembered one works": { first: "c", at: { 50: "works c" }, want: ["0 begin c", "50 chosen c"] },
  "the remembered one is silent": { first: "c", at: { 1010: "works a" }, want: ["0 begin c", "1000 begin a", "1010 drop c", "1010 chosen a"] },
  "the remembered one works late": {
    first: "c",
    at: { 1100: "works c", 1200: "works a" },
    want: ["0 begin c", "1000 begin a", "1200 drop c", "1200 chosen a"],
  },
  "one that is not allowed any more was remembered": { first: "x", at: { 420: "works b", 450: "works a" }, want: ["0 begin a", "400 begin b", "450 drop b", "450 chosen a"] },
  "it works, and fails in the 250 ms": { at: { 500: "works b", 600: "failed b", 610: "works c" }, want: ["0 begin a", "400 begin b", "600 begin c", "860 drop a", "860 chosen c"] },
  stopped: { at: { 500: "stop" }, want: ["0 begin a", "400 begin b", "500 drop a", "500 drop b", "500 chosen none"] },
};

for (const [name, { first, at, want }] of Object.entries(cases)) {
  test(name, (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    let now = 0;
    const log = [];
    const note = (what) => (transport) => log.push(`${now} ${what} ${transport ?? "none"}`);
    const choice = choose(["a", "b", "c"], { begin: note("begin"), drop: note("drop"), chosen: note("chosen") }, first, !!first);
    choice.start();
    for (; now < 40_000; now++, t.mock.timers.tick(1)) {
      const [what, transport] = at[now]?.split(" ") ?? [];
      if (what) choice[what](transport);
    }
    assert.deepEqual(log, want);
  });
}

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
  for (const [options, want] of [[{ transports: ["longpoll"] }, []], [{}, ["websocket"]]]) {
    const client = new Duplex(server.url, options);
    t.after(() => client.close());
    await client.subscribe("a", () => {}).ready;
    assert.deepEqual([...kept.values()].map((text) => JSON.parse(text).transport), want);
  }
});
