// The client against the built server.
import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Duplex } from "../dist/client.js";
import { collect, proxy, serve, sleep, until } from "./server.mjs";

const all = ["websocket", "sse", "stream", "longpoll", "poll"];

for (const transport of all) {
  test(`${transport}: events, history, the end`, async (t) => {
    const server = await serve(t);
    const client = new Duplex(server.url, { transports: [transport] });
    t.after(() => client.close());
    const take = collect();
    const subscription = client.subscribe("a/b", take);
    await subscription.ready;
    const data = ["text\r\nand more", { total: 12, of: ["ü", null] }, new Uint8Array([0, 1, 255]), "", 7];
    const ids = [];
    for (const d of data) ids.push(await client.publish("a/b", d, { event: "paid" }));
    await until("the events", () => take.events.length === data.length);
    assert.deepEqual(take.ids(), ids);
    assert.deepEqual(take.events.map((e) => e.data), data);
    assert.deepEqual(take.events.map((e) => [e.topic, e.event, e.binary]), data.map((_, i) => ["a/b", "paid", i === 2 ? true : undefined]));
    assert.equal(client.status.transport, transport);
    // node does not say it of what it fetches.
    if (transport === "websocket") await until("the version of HTTP", () => client.status.version === "http/1.1");

    const page = await client.history("a/b", { after: ids[0], limit: 2 });
    assert.deepEqual(page.events.map((e) => e.id), ids.slice(1, 3));
    assert.equal(page.more, true);

    const again = [];
    for await (const event of client.subscribe("a/*", { after: ids[1] })) {
      again.push(event.id);
      if (again.length === 3) break;
    }
    assert.deepEqual(again, ids.slice(2));

    await client.end("a/b");
    await subscription.over;
    assert.equal(take.events.at(-1).event, "$end");
    assert.equal(take.events.at(-1).data.topic, "a/b");
    await assert.rejects(client.publish("a/b", "more"), { code: "topic-ended", status: 409, retryable: false });
    const late = collect();
    await client.subscribe("a/b", late, { after: ids.at(-1) }).over;
    assert.deepEqual(late.events.map((e) => e.event), ["$end"]);
  });

  test(`${transport}: a server that is killed and comes back`, async (t) => {
    const server = await serve(t, "--data", mkdtempSync(join(tmpdir(), "duplex-data-")));
    const client = new Duplex(server.url, { transports: [transport] });
    t.after(() => client.close());
    const take = collect();
    let placed = 0;
    const subscription = client.subscribe("a", take);
    subscription.onplaced = () => placed++;
    await subscription.ready;
    const published = [];
    for (let i = 0; i < 3; i++) published.push(client.publish("a", { i }));
    await Promise.all(published);
    for (const signal of ["SIGKILL", "SIGTERM"]) {
      await server.stop(signal);
      for (let i = 0; i < 3; i++) published.push(client.publish("a", { i })); // they wait
      await sleep(200);
      assert.ok(client.status.waiting >= 3);
      const before = placed;
      await server.start();
      await Promise.all(published);
      if (transport !== "poll") await until("a new place", () => placed > before); // a poll may have noticed nothing
    }
    const ids = await Promise.all(published);
    await until("all events", () => take.events.length >= ids.length);
    await sleep(100);
    assert.deepEqual(take.ids(), ids);
    assert.equal(client.status.waiting, 0);
  });
}

test("subscriptions that overlap, join and leave, each with its own cursor", async (t) => {
  const server = await serve(t);
  for (const transport of ["websocket", "sse", "longpoll"]) {
    const client = new Duplex(server.url, { transports: [transport] });
    const top = `join-${transport}`;
    const ids = [];
    const publish = async (topic) => ids.push([topic, await client.publish(`${top}/${topic}`, ids.length)]);
    const of = (match, from = 0) => ids.slice(from).filter(([topic]) => match(topic)).map(([, id]) => id);
    for (const topic of ["a", "b", "a", "c"]) await publish(topic);
    const cursor = ids[1][1];

    const wide = collect(), earliest = collect(), later = collect(), now = collect(), several = collect();
    await client.subscribe(`${top}/**`, wide).ready;
    await publish("a");
    await client.subscribe(`${top}/a`, earliest, { after: "earliest" }).ready;
    await publish("b");
    await client.subscribe(`${top}/*`, later, { after: cursor }).ready;
    await publish("a");
    const joined = ids.length;
    await client.subscribe(`${top}/a`, now).ready;
    const two = client.subscribe([`${top}/b`, `${top}/c`], several);
    await two.ready;
    for (const topic of ["a", "b", "c", "a"]) await publish(topic);
    await until(`${transport}: everybody`, () => wide.events.length === 8 - 1 && earliest.events.length === 6 && later.events.length === 9 && now.events.length === 2 && several.events.length === 2).catch((e) => {
      throw new Error(`${e.message}: ${[wide, earliest, later, now, several].map((c) => c.events.length)}`);
    });
    assert.deepEqual(wide.ids(), of(() => true, 4));
    assert.deepEqual(earliest.ids(), of((topic) => topic === "a"));
    assert.deepEqual(later.ids(), of(() => true, 2));
    assert.deepEqual(now.ids(), of((topic) => topic === "a", joined));
    assert.deepEqual(several.ids(), of((topic) => topic !== "a", joined));
    two.close();
    await sleep(700); // the names that nobody wants any more are left
    await publish("b");
    await until("the pattern", () => wide.events.length === 8);
    assert.equal(several.events.length, 2);
    client.close();
  }
});

test("a refused topic ends only its own subscription", async (t) => {
  const server = await serve(t, "--presence", "room/*");
  for (const transport of all) {
    const client = new Duplex(server.url, { transports: [transport] });
    const take = collect();
    const good = client.subscribe("a", take);
    const bad = client.subscribe("$presence/elsewhere", () => {});
    await assert.rejects(bad.over, { code: "presence-off", status: 404 });
    await good.ready;
    await assert.rejects(client.subscribe("$presence/nowhere", () => {}).over, { code: "presence-off" });
    const id = await client.publish("a", transport);
    await until("the event", () => take.events.length);
    assert.deepEqual(take.ids(), [id]);
    client.close();
  }
});

test("a thousand topics", async (t) => {
  const server = await serve(t);
  for (const transport of all) {
    const client = new Duplex(server.url, { transports: [transport] });
    const take = collect();
    const names = Array.from({ length: 1000 }, (_, i) => `many/${transport}/${i}`);
    await client.subscribe(names, take).ready;
    const ids = [await client.publish(names[0], 1), await client.publish(names[999], 2)];
    await until(transport, () => take.events.length === 2);
    assert.deepEqual(take.ids(), ids);
    client.close();
  }
});

test("presence", async (t) => {
  const server = await serve(t, "--presence", "room/*", "--presence-grace", "100ms");
  const watcher = new Duplex(server.url);
  const ada = new Duplex(server.url, { member: "ada" });
  t.after(() => watcher.close());
  await ada.subscribe("room/1", () => {}).ready;
  const seen = [];
  for await (const members of watcher.presence("room/1")) {
    seen.push(members.map((m) => m.member).join());
    if (seen.length === 1) {
      const bob = new Duplex(server.url, { member: "bob" });
      await bob.subscribe("room/1", () => {}).ready;
      t.after(() => bob.close());
    } else if (seen.at(-1) === "ada,bob") ada.close();
    else if (seen.at(-1) === "bob") break;
  }
  assert.equal(seen[0], "ada");
});

test("a gap is told to whom it concerns", async (t) => {
  const server = await serve(t, "--retain-events", "2");
  for (const transport of all) {
    const client = new Duplex(server.url, { transports: [transport] });
    const top = `gap-${transport}`;
    const first = await client.publish(`${top}/a`, 1);
    await client.publish(`${top}/b`, 1);
    for (let i = 0; i < 4; i++) await client.publish(`${top}/a`, i);
    const whole = collect(), lossy = collect();
    client.subscribe(`${top}/b`, whole, { after: first });
    client.subscribe(`${top}/a`, lossy, { after: first });
    await until(transport, () => whole.events.length >= 1 && lossy.events.length >= 3);
    await sleep(50);
    assert.deepEqual(whole.events.map((e) => e.event), ["message"], transport);
    assert.deepEqual(lossy.events.map((e) => e.event), ["$gap", "message", "message"], transport);
    assert.equal(lossy.events[0].data.after, first);
    assert.equal(lossy.events[0].data.oldest, lossy.events[1].id);
    client.close();
  }
});

test("an iterable that is read slowly loses nothing", async (t) => {
  const server = await serve(t);
  const client = new Duplex(server.url);
  t.after(() => client.close());
  const subscription = client.subscribe("a");
  await subscription.ready;
  const lines = Array.from({ length: 500 }, (_, i) => JSON.stringify({ data: i })).join("\n");
  for (let i = 0; i < 8; i++) await fetch(`${server.url}/topics/a?batch`, { method: "POST", body: lines, headers: { "Content-Type": "application/x-ndjson" } });
  let n = 0;
  for await (const event of subscription) {
    assert.equal(event.data, n % 500);
    if (n % 1000 === 0) await sleep(50);
    if (++n === 4000) break;
  }
});

test("dead links are noticed within 1.5 intervals", async (t) => {
  const server = await serve(t, "--ping", "4s"); // a heartbeat may be late by two seconds
  const dies = async (transport) => {
    const front = await proxy(t, server, {});
    const client = new Duplex(front.url, { transports: [transport] });
    const take = collect();
    await client.subscribe("a", take).ready;
    await sleep(9000); // heartbeats hold it
    assert.equal(client.status.state, "connected");
    front.spoil = { silent: true, body: () => "hold" };
    const began = Date.now();
    await until("it is noticed", () => client.status.state !== "connected");
    t.diagnostic(`${transport}: noticed after ${Date.now() - began} ms`);
    front.spoil = {};
    front.cut();
    const id = await client.publish("a", transport);
    await until("the event", () => take.ids().includes(id));
    client.close();
  };
  await Promise.all(["websocket", "sse", "stream"].map(dies));
});

test("check finds a dead link within 2 s", async (t) => {
  const server = await serve(t);
  const front = await proxy(t, server, {});
  for (const transport of ["websocket", "sse", "longpoll"]) {
    const client = new Duplex(front.url, { transports: [transport] });
    await client.subscribe("a", () => {}).ready;
    // A busy machine may need more than the two seconds.
    let lost = 0;
    client.addEventListener("status", () => (lost += client.status.state === "waiting"));
    for (let tries = 1, before; ; tries++) {
      await until("connected", () => client.status.state === "connected");
      before = lost;
      client.check();
      await sleep(2200);
      if (lost === before) break;
      assert.ok(tries < 10, `${transport}: a link that works is given up`);
    }
    front.spoil = { silent: true, request: () => true };
    const began = Date.now();
    client.check();
    await until("it is noticed", () => client.status.state !== "connected");
    t.diagnostic(`${transport}: noticed after ${Date.now() - began} ms`);
    front.spoil = {};
    front.cut();
    await until("it is back", () => client.status.state === "connected");
    client.close();
  }
});

test("a publish whose answer was lost is stored once", async (t) => {
  const server = await serve(t);
  for (const transport of ["websocket", "sse"]) {
    const front = await proxy(t, server, {});
    const client = new Duplex(front.url, { transports: [transport] });
    const topic = `once/${transport}`;
    const take = collect();
    await client.subscribe(topic, take).ready;
    for (let i = 0; i < 3; i++) {
      const published = [client.publish(topic, `${i}a`), client.publish(topic, `${i}b`)];
      setTimeout(front.cut, i * 3); // before, between and after
      await Promise.all(published);
    }
    await until("the last", () => take.events.length >= 6);
    const page = await new Duplex(server.url).history(topic); // past the proxy, which may still cut
    assert.deepEqual(page.events.map((e) => e.data), ["0a", "0b", "1a", "1b", "2a", "2b"]);
    assert.deepEqual(take.ids(), page.events.map((e) => e.id));
    client.close();
  }
});

test("without a WebSocket, what waits goes together, and is refused alone", async (t) => {
  const server = await serve(t);
  const posts = [];
  const front = await proxy(t, server, { request: (req) => void (req.method === "POST" && posts.push(req.url)) });
  const client = new Duplex(front.url, { transports: ["sse"] });
  t.after(() => client.close());
  const take = collect();
  await client.subscribe("a", take).ready;
  const data = Array.from({ length: 100 }, (_, n) => (n % 2 ? { n } : `text\n${n}`));
  data[50] = new Uint8Array([1]);
  const ids = await Promise.all(data.map((d, n) => client.publish("a", d, n % 10 ? {} : { event: "ten" })));
  await until("the events", () => take.events.length === data.length);
  assert.deepEqual(take.ids(), ids);
  assert.deepEqual(take.events.map((e) => e.data), data);
  assert.deepEqual(take.events.map((e) => e.event === "ten"), data.map((_, n) => n % 10 === 0));
  assert.ok(posts.length < 20, `${posts.length} requests for ${data.length} publishes`);
  assert.equal(client.status.waiting, 0);

  // A name that no event may have.
  const mixed = ["1", "2", "3", "4"].map((d) => client.publish("b", d, { event: d === "3" ? "$x" : undefined }));
  const settled = await Promise.allSettled(mixed);
  assert.deepEqual(settled.map((s) => s.reason?.status ?? 201), [201, 201, 400, 201]);
  assert.deepEqual((await client.history("b")).events.map((e) => e.data), ["1", "2", "4"]);

  // What never reached the server can be taken back, whatever it waits with.
  await server.stop();
  await until("it waits", () => client.status.state === "waiting");
  const abort = new AbortController();
  const waiting = ["5", "6", "7"].map((d) => client.publish("b", d, { signal: d === "6" ? abort.signal : undefined }));
  await sleep(100);
  abort.abort();
  await assert.rejects(waiting[1], { name: "AbortError" });
  assert.equal(client.status.waiting, 2);
  await server.start();
  await Promise.all([waiting[0], waiting[2]]);
  assert.deepEqual((await client.history("b")).events.map((e) => e.data), ["5", "7"]); // the log was in memory
});

test("tokens are asked for anew, and travel in headers", async (t) => {
  const server = await serve(t);
  const seen = [];
  const front = await proxy(t, server, {
    upgrade: (req) => void seen.push(req.headers["sec-websocket-protocol"]),
    request(req, res) {
      seen.push(req.headers.authorization);
      if (req.headers.authorization === "Bearer t4") return;
      res.writeHead(401).end();
      return true;
    },
  });
  let n = 0;
  const client = new Duplex(front.url, { transports: ["websocket"], getToken: async () => `t${++n}` });
  t.after(() => client.close());
  await client.subscribe("a", () => {}).ready;
  front.cut();
  await until("another connection", () => n === 2 && client.status.state === "connected");
  assert.deepEqual(seen.splice(0), ["duplex.v1, bearer.t1", "duplex.v1, bearer.t2"]);
  await client.history("a"); // 401, and once more
  assert.deepEqual(seen, ["Bearer t3", "Bearer t4"]);
  await assert.rejects(client.history("a"), { status: 401, retryable: false });
});

test("a final refusal stops, and says why; 503 waits as long as it says", async (t) => {
  const server = await serve(t);
  let answer = { status: 403, headers: {} };
  let asked = 0;
  const front = await proxy(t, server, {
    upgrade: (_, socket) => socket.end("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n") && true,
    request: (_, res) => answer && (asked++, res.writeHead(answer.status, answer.headers).end(), true),
  });
  for (const status of [401, 403, 404]) {
    answer = { status };
    const client = new Duplex(front.url, { transports: ["websocket", "sse"] });
    await assert.rejects(client.subscribe("a").over, { status });
    assert.equal(client.status.state, "idle");
    assert.equal(client.status.error.status, status);
    assert.equal(client.status.failed.sse.slice(0, 3), String(status));
    client.close();
  }
  answer = { status: 204 };
  const silenced = new Duplex(front.url);
  t.after(() => silenced.close());
  await assert.rejects(silenced.subscribe("a").over, { status: 204, code: "end" });
  answer = { status: 503, headers: { "Retry-After": "1" } };
  for (let tries = 1; ; tries++) {
    asked = 0;
    const client = new Duplex(front.url);
    t.after(() => client.close());
    const began = Date.now();
    const { ready } = client.subscribe("a", () => {});
    await until("it waits", () => client.status.state === "waiting");
    if (asked > 1) { // on a busy machine another transport has begun before the answer came
      client.close();
      assert.ok(tries < 10, "503 concerns all transports");
      continue;
    }
    answer = undefined;
    await ready;
    const took = Date.now() - began;
    assert.ok(took >= 1000, `${took} ms`);
    break;
  }
});

test("the outbox is bounded, and keeps what a store keeps", async (t) => {
  const server = await serve(t);
  await server.stop();
  const kept = new Map();
  const store = {
    load: async () => [...kept.values()],
    put: async (p) => void kept.set(p.key, { ...p }),
    remove: async (key) => void kept.delete(key),
  };
  const first = new Duplex(server.url, { store, outbox: 3 });
  const waiting = ["a", "b", "c"].map((data) => first.publish("box", data));
  await assert.rejects(first.publish("box", "d"), { code: "outbox-full" });
  await sleep(100);
  assert.equal(first.status.waiting, 3);
  first.close();
  for (const p of waiting) await assert.rejects(p, { code: "closed" });
  assert.equal(kept.size, 3);

  await server.start();
  const second = new Duplex(server.url, { store });
  t.after(() => second.close());
  await second.publish("box", "e");
  const page = await second.history("box");
  assert.deepEqual(page.events.map((e) => e.data), ["a", "b", "c", "e"]);
  await until("the store is empty", () => kept.size === 0);
});

test("what an earlier page has left goes first, in its order", async (t) => {
  const server = await serve(t);
  const left = ["a", "b"].map((data) => ({ key: data, topic: "in/order", media: "text/plain", data }));
  let load;
  const loaded = new Promise((done) => (load = () => done(left)));
  const client = new Duplex(server.url, { store: { load: () => loaded, put: async () => {}, remove: async () => {} } });
  t.after(() => client.close());
  await client.subscribe("other", () => {}).ready; // there is a connection, which takes several at a time
  const published = client.publish("in/order", "c");
  load();
  await published;
  const { events } = await client.history("in/order", { after: "earliest" });
  assert.deepEqual(events.map((e) => e.data), ["a", "b", "c"]);
});

test("what another client leaves is taken over with the next connection, once", async (t) => {
  const server = await serve(t);
  const kept = [];
  let closed = 0;
  const store = { load: async () => kept, put: async () => {}, remove: async () => {}, close: () => closed++ };
  const client = new Duplex(server.url, { store });
  t.after(() => client.close());
  await client.subscribe("other", () => {}).ready;
  await client.publish("left", "mine");
  kept.push(...["a", "b"].map((data) => ({ key: data, topic: "left", media: "text/plain", data })));
  client.check();
  client.check();
  await until("they are sent", async () => (await client.history("left", { after: "earliest" })).events.length >= 3);
  kept.length = 0;
  await client.publish("left", "last");
  const { events } = await client.history("left", { after: "earliest" });
  assert.deepEqual(events.map((e) => e.data), ["mine", "a", "b", "last"]);
  client.close();
  assert.equal(closed, 1);
});

test("a signal takes back what was not sent, and ends what is read", async (t) => {
  const server = await serve(t);
  await server.stop();
  const client = new Duplex(server.url);
  t.after(() => client.close());
  const abort = new AbortController();
  const iterated = (async () => {
    for await (const _ of client.subscribe("a", { signal: abort.signal }));
  })();
  const published = client.publish("a", 1, { signal: abort.signal });
  await until("it waits", () => client.status.state === "waiting");
  abort.abort();
  await assert.rejects(published, { name: "AbortError" });
  await iterated;
  await until("it is idle", () => client.status.state === "idle");
});

test("a publish whose outcome stays unknown is not sent again after a minute", async (t) => {
  const server = await serve(t);
  const kept = new Map([
    ["k1", { key: "k1", topic: "late", media: "text/plain", data: "maybe stored", sent: Date.now() - 70_000 }],
    ["k2", { key: "k2", topic: "late", media: "text/plain", data: "never sent" }],
    ["k3", { key: "k3", topic: "late/$x", media: "text/plain", data: "refused" }],
  ]);
  const store = { load: async () => [...kept.values()], put: async (p) => void kept.set(p.key, p), remove: async (key) => void kept.delete(key) };
  const client = new Duplex(server.url, { store });
  t.after(() => client.close());
  const failed = [];
  client.addEventListener("failed", ({ detail }) => failed.push([detail.publication.key, detail.error.code]));
  await until("the store is empty", () => kept.size === 0);
  assert.deepEqual(failed, [["k1", "unknown"], ["k3", "system-topic"]]);
  assert.deepEqual((await client.history("late")).events.map((e) => e.data), ["never sent"]);
});

test("a fault in a callback stops nobody else", async (t) => {
  const server = await serve(t);
  const client = new Duplex(server.url);
  t.after(() => client.close());
  const faults = [];
  const listeners = process.listeners("uncaughtException"); // the runner's
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", (error) => faults.push(error.message));
  t.after(() => (process.removeAllListeners("uncaughtException"), listeners.forEach((l) => process.on("uncaughtException", l))));
  const take = collect();
  await client.subscribe("a", () => {
    throw new Error("mine");
  }).ready;
  await client.subscribe("a", take).ready;
  const ids = [await client.publish("a", 1), await client.publish("a", 2)];
  await until("the events", () => take.events.length === 2);
  assert.deepEqual(take.ids(), ids);
  assert.deepEqual(faults, ["mine", "mine"]);
});

test("an answer of something else is named, and publishes wait for the server", async (t) => {
  const server = await serve(t);
  const login = (_, res) => res.writeHead(200, { "Content-Type": "text/html" }).end("<!doctype html><title>Log in</title>");
  const front = await proxy(t, server, { request: (...both) => login(...both) && true, upgrade: (_, socket) => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") && true });
  const client = new Duplex(front.url);
  t.after(() => client.close());
  const take = collect();
  client.subscribe("portal", take);
  await until("it waits", () => client.status.state === "waiting");
  for (const transport of ["sse", "stream", "longpoll", "poll"]) assert.equal(client.status.failed[transport], "not the server's answer: 200 text/html");
  assert.equal(client.status.error.code, "no-duplex");
  await assert.rejects(client.history("portal"), { code: "no-duplex", retryable: true });
  await assert.rejects(client.end("portal"), { code: "no-duplex" });
  const published = client.publish("portal", "hello");
  await sleep(300);
  assert.equal(client.status.waiting, 1);
  front.spoil = {};
  client.check();
  const id = await published;
  await until("the event", () => take.events.length);
  assert.deepEqual(take.ids(), [id]);
});

test("what is too big is refused alone, and changes no transport", async (t) => {
  const tooBig = { code: "too-big", status: 413, retryable: false };
  // That of node 20 is often closed before it has read why.
  class Socket extends WebSocket {
    set onclose(closed) {
      super.onclose = ({ code, reason }) => closed({ code: code === 1006 ? 1009 : code, reason });
    }
  }
  for (const [limit, small, large] of [[1 << 20, 1 << 20, 3 << 20], [1024, 1000, 5000]]) {
    const server = await serve(t, "--max-event-bytes", String(limit));
    const client = new Duplex(server.url, { WebSocket: Socket, transports: ["websocket", "sse"] });
    t.after(() => client.close());
    const take = collect();
    await client.subscribe("a", take).ready;
    await until("websocket", () => client.status.transport === "websocket"); // on a busy machine it may have been late
    const seen = [];
    client.addEventListener("status", () => seen.push(client.status));
    const data = [small, large, 1, limit + 1, 2].map((n) => "x".repeat(n));
    const published = data.map((d) => client.publish("a", d));
    await assert.rejects(published[1], tooBig);
    await assert.rejects(published[3], tooBig);
    const ids = await Promise.all([published[0], published[2], published[4]]);
    await until("the events", () => take.events.length === 3);
    assert.deepEqual(take.ids(), ids);
    assert.deepEqual(seen.filter((s) => s.transport === "sse" && /1009/.test(s.failed.websocket)), []);
    if (limit > 1024) assert.deepEqual(seen.filter((s) => s.state === "waiting"), [], "the connection is kept");
  }
});

test("who aborts a request is told of no fault", async (t) => {
  const server = await serve(t);
  const client = new Duplex(server.url);
  t.after(() => client.close());
  await assert.rejects(client.history("a", { signal: AbortSignal.abort() }), { name: "AbortError" });
});
