// Readers that come and go, overlap, are slow, and share one stream whose transport changes, is cut
// and begins anew, under load: each is given all of its events, once, in the order of the log.
// ROUNDS=200 has it go on for longer, SEED=N repeats a round.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Duplex } from "../dist/client.js";
import { proxy, serve, sleep, until } from "./server.mjs";

const rounds = Number(process.env.ROUNDS ?? 25);
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1e9));
let state = seed;
const random = (n) => ((state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0) >>> 0) % n;

const topics = ["t/a", "t/b", "t/c/d", "u/a"];
const names = [["t/a"], ["t/*"], ["t/**"], ["u/a"], ["*/a"], ["t/a", "u/a"], ["t/c/*", "t/b"]];
const matching = {
  "t/a": (t) => t === "t/a",
  "t/*": (t) => t === "t/a" || t === "t/b",
  "t/**": (t) => t.startsWith("t/"),
  "u/a": (t) => t === "u/a",
  "*/a": (t) => t === "t/a" || t === "u/a",
  "t/c/*": (t) => t === "t/c/d",
  "t/b": (t) => t === "t/b",
};

test(`readers come and go, for ${rounds} rounds`, async (t) => {
  t.diagnostic(`SEED=${seed}`);
  const server = await serve(t, "--ping", "1s");
  const front = await proxy(t, server);
  const client = new Duplex(front.url);
  const publisher = new Duplex(server.url);
  let running = true;
  let stored = 0;
  const load = topics.map(async (topic) => {
    while (running) {
      await publisher.publish(topic, stored++);
      await sleep(random(10));
    }
  });
  await until("some events", () => stored > 20);

  const readers = [];
  const begin = async () => {
    const wanted = names[random(names.length)];
    const page = await publisher.history("**", { limit: 50 });
    const after = ["now", "earliest", page.events[random(page.events.length)].id][random(3)];
    const reader = { wanted, after, ids: [], signals: [], given: 0 };
    reader.subscription = client.subscribe(wanted, { after });
    reader.done = (async () => {
      for await (const event of reader.subscription) {
        if (event.event[0] === "$") reader.signals.push(event);
        else reader.ids.push(event.id);
        if (random(300) === 0) await sleep(random(300));
      }
    })();
    readers.push(reader);
    return reader;
  };

  const open = [];
  for (let i = 0; i < rounds; i++) {
    for (let n = random(3); n > 0; n--) open.push(await begin());
    if (open.length > 6) open.splice(random(open.length), 1)[0].subscription.close();
    const what = random(6);
    if (what === 0) front.cut();
    else if (what < 4) client.use([["websocket", "sse", "stream", "longpoll", "poll"][random(5)]]);
    await sleep(random(200));
  }
  running = false;
  await Promise.all(load);
  client.use(["websocket", "sse"]);

  const log = [];
  for (let page = { cursor: "earliest", more: true }; page.more; log.push(...page.events)) page = await publisher.history("**", { after: page.cursor, limit: 1000 });
  for (const [i, { wanted, after, ids, signals }] of readers.entries()) {
    const label = `reader ${i} of ${wanted} after ${after}`;
    const all = log.filter((e) => wanted.some((name) => matching[name](e.topic))).map((e) => e.id);
    const at = log.findIndex((e) => e.id === after) + 1;
    const rest = new Set(log.slice(at).map((e) => e.id));
    const start = after === "now" ? all.indexOf(ids[0]) : all.findIndex((id) => rest.has(id));
    if (open.includes(readers[i])) {
      await until(`${label} at the end`, () => ids.at(-1) === all.at(-1) || (after === "now" && !ids.length)).catch((e) => {
        throw new Error(`${e.message}: ${ids.length} events, the last ${ids.at(-1)}; want ${all.length - start}, the last ${all.at(-1)}; ${JSON.stringify(client.status)}`);
      });
    }
    assert.deepEqual(signals, [], label);
    assert.deepEqual(ids, ids.length ? all.slice(start, start + ids.length) : [], label);
  }
  t.diagnostic(`${log.length} events, ${readers.length} readers, given ${readers.reduce((sum, r) => sum + r.ids.length, 0)} in all`);
  client.close();
  publisher.close();
});
