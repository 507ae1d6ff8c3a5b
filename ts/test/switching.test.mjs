// Readers that come, go and pause, while streams are chosen, taken over, changed and cut, events are
// evicted and the server restarts, in any order that can happen: each reader is given each event of its
// selection after its cursor once, in the order of the log, or is told that it is lost (PROTOCOL.md §15.5).
// There is no network and no real time, and chance is the seed's: a run is always the same. SEED=N begins
// with another one, RUNS=10000 tries as many, ALL=1 goes on after a fault.
import assert from "node:assert/strict";
import { test } from "node:test";
import { bundle } from "./bundle.mjs";
import { World, matches } from "./world.mjs";

const { Client } = await bundle("client");

const runs = Number(process.env.RUNS ?? 100);
const first = Number(process.env.SEED ?? 1);
const steps = 250;
const all = ["websocket", "sse", "stream", "longpoll", "poll"];

/** What is published and read, and what may happen besides, with its weight. */
const plain = { topics: ["t/a", "t/b", "t/c/d", "u/a"], names: [["t/a"], ["t/*"], ["t/**"], ["u/a"], ["*/a"], ["t/a", "u/a"], ["t/c/*", "t/b"]] };

const kinds = {
  "nothing is lost": plain,
  "topics conflate, or keep nothing": { topics: [...plain.topics, "c/v", "c/v", "c/w", "e/x"], names: [["c/v"], ["c/*", "u/a"], ["**"], ["t/a"], ["e/*"], ["e/x", "t/a"], ["*/a"]] },
  "topics end": { ...plain, topics: [...plain.topics, "t/e", "u/e"], names: [["t/e"], ["t/e"], ["t/*"], ["*/e"], ["t/e", "u/e"], ["u/a"]], end: 2 },
  "events are evicted": { ...plain, evict: 3 },
  "topics drop": { ...plain, topics: [...plain.topics, "d/a", "d/a"], names: [["d/a"], ["*/a"], ["**"], ["t/*"], ["d/a", "t/a"], ["d/*", "u/a", "t/**"]] },
  "the server restarts": { ...plain, evict: 1, restart: 2 },
};

/** One reader, who minds what it is given. */
class Taker {
  given = [];
  ends = new Set();
  /** A $gap may come: what the server knows of its cursor is lost. */
  forgiven = false;
  /** It was not told how much is lost, or begins with the oldest that there will be. */
  lossy = false;
  /** Since its cursor was lost, the server begins with the first event, and it with what it has not seen: from here. */
  again = Infinity;
  /** Up to where it was told that some may be dropped. */
  toldTo = 0;
  over = false; // by the test
  done = false; // by the end of its topic
  paused = false;
  #world;
  /** The place of what it has to be given next; below 0: it was told of that as its "now". */
  #next;

  constructor(world, direct, names, after) {
    this.#world = world;
    this.names = names;
    this.after = after;
    this.#next = after === "now" ? undefined : after === "earliest" ? world.gone : world.placeOf(after);
    this.lossy = after === "earliest";
    this.feed = direct.read(names, after, {
      placed: () => {
        // What is published from here on has to be given.
        this.#next ??= -world.log.length;
      },
      take: (event) => this.#note(() => this.#judge(event)),
      moved: (cursor) => this.#note(() => this.#moved(cursor)),
      over: (error) => {
        if (!error && this.names.length === 1 && world.ended(names[0])) this.done = true;
        else world.fault ??= error ?? new Error(`a reader of ${names} is over`);
      },
    });
  }

  #wants(i, seen) {
    const { topic, end } = this.#world.log[i];
    if (end || !matches(this.names, topic)) return false;
    if (topic[0] === "e" || (topic[0] === "d" && i < this.toldTo)) return false; // may be missed
    return topic[0] !== "c" || !this.#world.log.slice(i + 1, seen).some((e) => e.topic === topic);
  }

  /** Where the next event that it has to be given is, up to a place. */
  #missing(to, topic) {
    const { log } = this.#world;
    for (let i = Math.abs(this.#next ?? log.length); i < to; i++) if (this.#wants(i, log.length) && (!topic || log[i].topic === topic)) return i;
    return -1;
  }

  /** The newest entries of the log are lost. */
  restarted() {
    const { log } = this.#world;
    this.forgiven = true;
    if (this.#next !== undefined) this.#next = this.#next < 0 ? Math.max(this.#next, -log.length) : Math.min(this.#next, log.length);
  }

  /** A fault is noted, since what the client catches would be nobody's. */
  #note(judge) {
    try {
      judge();
    } catch (error) {
      this.#world.fault ??= error;
    }
  }

  #judge(event) {
    const label = `a reader of ${this.names} after ${this.after} that was given ${this.given.slice(-12)}`;
    assert.ok(!this.over && !this.done && !this.paused, `${label}: not to be given anything`);
    const world = this.#world;
    if (event.event === "$gap") {
      const { after, oldest, to = event.id } = event.data;
      this.toldTo = Math.max(this.toldTo, world.placeOf(to), world.placeOf(event.id));
      if (world.log.slice(0, this.toldTo).some((e) => e.topic[0] === "d" && matches(this.names, e.topic))) return;
      const missing = this.#missing(world.log.length);
      const known = world.placeOf(after) || after === world.cursorAt(0); // else it has a gap whenever it is asked for
      assert.ok((missing >= 0 && missing < world.gone) || this.forgiven || !known, `${label}: a $gap for nothing`);
      if (this.forgiven) this.again = 0;
      this.forgiven = false;
      if (oldest) this.#next = Math.max(this.#next, world.placeOf(oldest) - 1);
      else this.lossy = true; // up to where it goes on
      return;
    }
    if (event.event === "$end") {
      const i = world.log.findIndex((e) => e.end && e.topic === event.data.topic);
      assert.ok(matches(this.names, event.data.topic), `${label}: the end of ${event.data.topic}`);
      assert.ok(!this.ends.has(event.data.topic), `${label}: told twice of the end of ${event.data.topic}`);
      this.ends.add(event.data.topic);
      const missing = this.#missing(i, event.data.topic);
      assert.ok(missing < 0, `${label}: told of the end of ${event.data.topic} before ${world.log[missing]?.id}`);
      return;
    }
    const i = world.placeOf(event.id) - 1;
    if (i < 0) return; // it was read before the log lost it
    assert.ok(matches(this.names, event.topic), `${label}: ${event.topic}`);
    assert.ok(!this.given.includes(event.id), `${label}: given ${event.id} twice`);
    // Who begins now may be given what is on its way already.
    if (this.#next < 0 || this.#next === undefined) this.#next = this.#next < 0 ? Math.min(i, -this.#next) : i;
    if (i < this.#next && i >= this.again) {
      this.given.push(event.id);
      this.again = i + 1;
      return;
    }
    assert.ok(i >= this.#next, `${label}: given ${event.id} out of order`);
    this.#passes(i, label);
    this.given.push(event.id);
    this.#next = i + 1;
  }

  /** It goes on from a place: nothing before that is missing, or it was told so. */
  #passes(place, label) {
    const { log, gone } = this.#world;
    if (this.lossy) this.#next = Math.max(this.#next, Math.min(gone, place));
    this.lossy = false;
    const missing = this.#missing(place);
    assert.ok(missing < 0, `${label}: at ${log[place]?.id} before ${log[missing]?.id}`);
  }

  /** The cursor is here. */
  #moved(cursor) {
    const place = this.#world.placeOf(cursor);
    // Its "now" is here, if that is before it was told of its place.
    if (this.#next === undefined || this.#next < 0) this.#next = Math.min(place, -(this.#next ?? -place));
    this.#passes(place, `a reader of ${this.names} after ${this.after} that was given ${this.given.slice(-12)}`);
    this.#next = Math.max(this.#next, place);
  }

  /** Whether there is nothing left that it has to be given. */
  get satisfied() {
    if (!this.over && !this.done && this.names.length === 1 && this.#world.ended(this.names[0])) return false;
    return this.over || this.paused || this.#missing(this.#world.log.length) < 0;
  }
}

async function run(seed, { topics, names, transports = all, ...more }) {
  const world = new World(seed);
  await world.during(async () => {
    let direct;
    const client = new Client("http://x", {
      transports,
      fetch: world.fetch,
      WebSocket: world.WebSocket,
      between: (own, changed) => (direct = own(changed)),
    });
    const takers = [];
    const open = new Set();
    const drawn = (n) => world.random(n);
    const extra = {
      evict: () => world.evict(),
      end: () => drawn(10) || world.publish(["t/e", "u/e"][drawn(2)], true),
      restart: () => {
        if (drawn(5)) return;
        world.restart();
        for (const taker of open) taker.restarted();
      },
    };
    const actions = {
      publish: [30, () => world.publish(world.of(topics))],
      step: [50, () => world.connections.size && world.of(world.connections).step()],
      serve: [16, () => world.requests.size && world.serve(world.of(world.requests))],
      tick: [6, () => world.tick()],
      ping: [4, () => world.connections.size && world.of(world.connections).ping()],
      use: [3, () => client.use(drawn(3) ? [world.of(transports)] : transports.slice(drawn(transports.length)))],
      cut: [1, () => world.connections.size && world.of(world.connections).cut()],
      check: [1, () => client.check()],
      begin: [
        4,
        () => {
          if (open.size > 6 || world.log.length <= world.gone) return;
          const after = ["now", "earliest", world.cursorAt(world.gone + drawn(world.log.length - world.gone + 1))][drawn(3)];
          const taker = new Taker(world, direct, world.of(names), after);
          takers.push(taker);
          open.add(taker);
        },
      ],
      leave: [
        2,
        () => {
          if (!open.size) return;
          const taker = world.of(open);
          open.delete(taker);
          taker.over = true;
          taker.feed.close();
        },
      ],
      pause: [
        2,
        () => {
          if (!open.size) return;
          const taker = world.of(open);
          taker.paused = !taker.paused;
          if (taker.paused) taker.feed.pause();
          else taker.feed.resume();
        },
      ],
    };
    for (const [name, weight] of Object.entries(more)) actions[name] = [weight, extra[name] ?? actions[name][1]];
    const chances = Object.entries(actions).flatMap(([name, [weight]]) => Array(weight).fill(name));
    try {
      for (let i = 0; i < steps; i++) {
        const name = world.of(chances);
        actions[name][1]();
        await world.settle();
        if (world.fault) throw world.fault;
      }
      // All that is on its way arrives, and what is missing has to come.
      for (const taker of open) if (taker.paused) (taker.paused = false), taker.feed.resume();
      client.use(transports);
      for (let i = 0; !takers.every((t) => t.satisfied); i++) {
        assert.ok(i < 20_000, `not given all: ${takers.filter((t) => !t.satisfied).map((t) => `${t.names} after ${t.after}: ${t.given.slice(-5)}`).join("; ")}`);
        let any = false;
        for (const connection of [...world.connections]) any = connection.step() || any;
        for (const request of [...world.requests]) any = world.serve(request) || any;
        if (!any || i % 50 === 0) world.tick();
        await world.settle();
        if (world.fault) throw world.fault;
      }
    } catch (error) {
      error.message = `SEED=${seed}: ${error.message}`;
      throw error;
    } finally {
      client.close();
      await world.settle();
    }
    given += takers.reduce((sum, t) => sum + t.given.length, 0);
  });
}

let given = 0;
for (const [name, what] of Object.entries(kinds)) {
  test(`${name}, for ${runs} runs`, async (t) => {
    const failures = [];
    const began = process.hrtime.bigint();
    for (let i = 0; i < runs; i++) {
      try {
        await run(first + i, what);
      } catch (e) {
        failures.push(e);
        if (!process.env.ALL) break;
      }
    }
    const seconds = Number(process.hrtime.bigint() - began) / 1e9;
    t.diagnostic(`SEED=${first}, ${Math.round((runs * steps) / seconds)} steps/s, ${given} given, ${failures.length} failures`);
    if (process.env.ALL) for (const e of failures.slice(0, 30)) t.diagnostic(e.message);
    if (failures.length) throw failures[0];
  });
}
