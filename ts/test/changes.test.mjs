// Forced changes of the transport under load: nothing is lost, doubled or out of order.
// CHANGES=500 has it go on for as many.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Duplex } from "../dist/client.js";
import { collect, serve, sleep, until } from "./server.mjs";

const changes = Number(process.env.CHANGES ?? 60);

test(`${changes} changes of the transport under load`, async (t) => {
  const server = await serve(t);
  const client = new Duplex(server.url);
  const topics = ["load/a", "load/b", "load/c"];
  const takes = topics.map(() => collect());
  const wide = collect(); // it overlaps with all of them
  await Promise.all([...topics.map((topic, i) => client.subscribe(topic, takes[i]).ready), client.subscribe("load/**", wide).ready]);

  const stored = topics.map(() => []);
  let running = true;
  let n = 0;
  const publish = async (from, pause) => {
    while (running) {
      const i = n++ % topics.length;
      stored[i].push(await from.publish(topics[i], { n }));
      await sleep(pause);
    }
  };
  const other = new Duplex(server.url, { outbox: 10 });
  const load = [publish(client, 1), ...Array.from({ length: 5 }, () => publish(other, 0))];

  for (let i = 0; i < changes; i++) {
    const transport = ["websocket", "sse", "stream", "longpoll", "poll"][Math.floor(Math.random() * 5)];
    client.use([transport]);
    // Some changes are overtaken by the next one.
    if (Math.random() < 0.7) await until(transport, () => client.status.transport === transport);
    else await sleep(Math.random() * 50);
  }
  running = false;
  await Promise.all(load);
  await until("all events", () => wide.events.length >= stored.flat().length && takes.every((take, i) => take.events.length >= stored[i].length));
  await sleep(300); // for what comes twice

  takes.forEach((take, i) => {
    assert.equal(take.events.length, stored[i].length);
    assert.deepEqual(new Set(take.ids()), new Set(stored[i]));
  });
  assert.equal(wide.events.length, stored.flat().length);
  assert.deepEqual(new Set(wide.ids()), new Set(stored.flat()));
  const log = (await all(client, "load/**")).map((e) => e.id);
  assert.deepEqual(wide.ids(), log, "the order of the log");
  t.diagnostic(`${log.length} events`);
  client.close();
  other.close();
});

async function all(client, topic) {
  const events = [];
  for (let page = { cursor: "earliest", more: true }; page.more; events.push(...page.events)) page = await client.history(topic, { after: page.cursor, limit: 1000 });
  return events;
}
