import { test } from "node:test";
import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { bundle } from "./bundle.mjs";
import { sleep, until } from "./wait.mjs";

// Which tab does something: here all are in one process.
const owner = new AsyncLocalStorage();

// Locks as a browser has them, of which all tabs of the process are owners.
class Locks {
  queues = new Map();
  request(name, options, work) {
    const queue = this.queues.get(name) ?? [];
    this.queues.set(name, queue);
    return new Promise((resolve, reject) => {
      const entry = { name, work, resolve, reject, owner: owner.getStore(), held: false };
      options.signal?.addEventListener("abort", () => {
        if (entry.held) return;
        this.#remove(entry);
        reject(new DOMException("aborted", "AbortError"));
      });
      if (options.signal?.aborted) return reject(new DOMException("aborted", "AbortError"));
      if (options.steal) {
        for (const e of [...queue]) if (e.held) this.#remove(e), e.reject(new DOMException("stolen", "AbortError"));
        queue.unshift(entry);
      } else queue.push(entry);
      setTimeout(() => this.#grant(name));
    });
  }
  #remove(entry) {
    const queue = this.queues.get(entry.name);
    const at = queue.indexOf(entry);
    if (at >= 0) queue.splice(at, 1);
    setTimeout(() => this.#grant(entry.name));
  }
  #grant(name) {
    const [first] = this.queues.get(name);
    if (!first || first.held) return;
    first.held = true;
    const done = owner.run(first.owner, first.work);
    Promise.resolve(done).then(() => { if (this.queues.get(name).includes(first)) this.#remove(first); first.resolve(); });
  }
  crash(who) {
    for (const queue of this.queues.values()) for (const e of [...queue]) if (e.owner === who) this.#remove(e);
  }
}

const channels = new Map();
class Channel extends BroadcastChannel {
  constructor(name) {
    super(name);
    this.unref();
    const all = channels.get(owner.getStore()) ?? [];
    channels.set(owner.getStore(), [...all, this]);
  }
  #closed = false;
  close() { this.#closed = true; super.close(); }
  postMessage(m) { if (!this.#closed) super.postMessage(m); }
}
const locks = new Locks();
Object.defineProperty(globalThis, "navigator", { value: { locks }, configurable: true });
globalThis.BroadcastChannel = Channel;

const { share } = await (process.env.TABS ? import(process.env.TABS) : bundle("tabs"));

// A server with one log, and connections to it, of which there should be one.
class Server {
  log = [];
  open = new Set();
  most = 0;
  asked = 0; // to publish
  delay = () => sleep(2);
  publishEvent(topic, data) {
    const event = { id: `e-${this.log.length + 1}`, topic, event: "message", data };
    this.log.push(event);
    for (const c of this.open) c.feed();
    return event.id;
  }
  connect(changed) {
    const server = this;
    const feeds = new Set();
    const c = {
      status: { state: "connected", transport: "websocket", failed: {} },
      who: owner.getStore(),
      feed() { for (const f of [...feeds]) f.run(); },
      read(names, after, sink) {
        const f = {
          at: after === "now" ? server.log.length : after === "earliest" ? 0 : Number(after.split("-")[1]),
          placed: false,
          run() {
            if (!feeds.has(f) || f.busy) return;
            f.busy = true;
            for (; f.at < server.log.length && feeds.has(f);) {
              const e = server.log[f.at++];
              if (names.includes(e.topic)) sink.take(e);
            }
            f.busy = false;
          },
        };
        feeds.add(f);
        setTimeout(() => {
          if (!feeds.has(f)) return;
          f.run();
          sink.placed();
          sink.moved(`e-${f.at}`);
        }, Math.random() * 10);
        return { pause() {}, resume() {}, close() { feeds.delete(f); } };
      },
      async publish(p) { server.asked++; await server.delay(); if (!server.open.has(c)) throw new Error("closed"); return server.publishEvent(p.topic, p.data); },
      pipelines: () => false,
      use() {}, check() {},
      close() { feeds.clear(); server.open.delete(c); },
    };
    this.open.add(c);
    this.most = Math.max(this.most, this.open.size);
    setTimeout(changed, 1);
    return c;
  }
  crash(who) { for (const c of [...this.open]) if (c.who === who) c.close(); }
}

let names = 0;
function newTab(server, name) {
  const tab = { id: ++names, got: {}, connection: null };
  owner.run(tab, () => { tab.connection = share(name, (changed) => server.connect(changed), () => { tab.status = tab.connection?.status; }); });
  tab.read = (topic, after) => {
    const got = { events: [], placed: 0, after };
    got.feed = tab.connection.read([topic], after, {
      placed: () => got.placed++,
      take: (e) => { got.events.push(e); got.after = e.id; },
      moved: (c) => { got.after = c; },
      over: () => {},
    });
    return got;
  };
  tab.crash = () => {
    locks.crash(tab);
    for (const c of channels.get(tab) ?? []) c.close();
    server.crash(tab);
    tab.dead = true;
    owner.run(tab, () => tab.connection.close()); // no word comes out any more
  };
  return tab;
}

test("twenty tabs are one connection, and each event comes once to each", async () => {
  const server = new Server();
  const tabs = Array.from({ length: 20 }, () => newTab(server, "twenty"));
  const got = tabs.map((t) => t.read("a", "now"));
  await until("placed", () => got.every((g) => g.placed));
  for (let i = 0; i < 50; i++) { server.publishEvent("a", i); if (i % 7 === 0) await sleep(1); }
  await until("all events", () => got.every((g) => g.events.length >= 50));
  await sleep(20); // for what comes twice
  assert.equal(server.open.size, 1);
  assert.equal(server.most, 1);
  for (const g of got) assert.deepEqual(g.events.map((e) => e.data), Array.from({ length: 50 }, (_, i) => i));
  assert.equal(tabs[7].connection.status.transport, "websocket");
  for (const t of tabs) t.connection.close();
  await until("no connection", () => server.open.size === 0);
});

test("leaders come and go, and nothing is lost or doubled", async () => {
  const server = new Server();
  let tabs = Array.from({ length: 6 }, () => newTab(server, "torture"));
  const readers = [];
  const begin = (t, after) => { const g = t.read("a", after); readers.push({ t, g, from: after }); return g; };
  for (const t of tabs) begin(t, "earliest");
  let n = 0;
  const publishing = setInterval(() => { for (let i = 0; i < 3; i++) server.publishEvent(n % 5 ? "a" : "b", n++); }, 1);
  for (let round = 0; round < 40; round++) {
    await sleep(Math.random() * 40);
    const t = tabs.splice(Math.floor(Math.random() * tabs.length), 1)[0];
    if (round % 3) t.crash(); else t.connection.close();
    t.dead = true;
    const fresh = newTab(server, "torture");
    tabs.push(fresh);
    const known = server.log[Math.floor(Math.random() * server.log.length)]?.id ?? "earliest";
    begin(fresh, round % 2 ? "earliest" : known);
  }
  clearInterval(publishing);
  const all = server.log.filter((e) => e.topic === "a").map((e) => e.id);
  await until("all events", () => readers.every(({ t, g }) => t.dead || g.events.at(-1)?.id === all.at(-1))).catch(() => {}); // judged below
  await sleep(20); // for what comes twice
  for (const { t, g, from } of readers) {
    const ids = g.events.map((e) => e.id);
    const start = from === "earliest" ? 0 : all.findIndex((id) => Number(id.split("-")[1]) > Number(from.split("-")[1]));
    const want = start < 0 ? [] : all.slice(start, t.dead ? start + ids.length : undefined);
    assert.deepEqual(ids, want, `tab ${t.id}, dead: ${t.dead}, from ${from}: ${ids.length} of ${want.length}`);
  }
  assert.equal(server.open.size, 1);
  for (const t of tabs) t.connection.close();
});

test("tabs publish through the leader, and are told when it is gone", async () => {
  const server = new Server();
  const [first, second] = [newTab(server, "publish"), newTab(server, "publish")];
  const got = second.read("a", "now");
  while (!got.placed) await sleep(5);
  assert.equal(await second.connection.publish({ key: "1", topic: "a", data: "one", media: "text/plain" }), "e-1");
  server.delay = () => new Promise(() => {});
  const lost = second.connection.publish({ key: "2", topic: "a", data: "two", media: "text/plain" });
  lost.catch(() => {});
  await until("it is asked", () => server.asked === 2);
  first.crash();
  server.delay = () => sleep(2);
  // Whether it was stored nobody knows: the same key goes to the next leader.
  await assert.rejects(lost, { code: "cut", retryable: true });
  assert.equal(second.connection.pipelines({}), false);
  await second.connection.publish({ key: "2", topic: "a", data: "two", media: "text/plain" });
  await until("the second", () => got.events.at(-1)?.data === "two");
  assert.equal(got.events[0].data, "one");
  second.connection.close();
  await assert.rejects(second.connection.publish({ key: "3", topic: "a", data: "three", media: "text/plain" }), { code: "closed" });
});

test("where tabs cannot know of each other, each has a connection of its own", async () => {
  const server = new Server();
  Object.defineProperty(globalThis, "navigator", { value: {}, configurable: true });
  const tabs = [newTab(server, "alone"), newTab(server, "alone")];
  Object.defineProperty(globalThis, "navigator", { value: { locks }, configurable: true });
  assert.equal(server.open.size, 2);
  for (const t of tabs) t.connection.close();
});
