// A server, its network and the clock, all in this process: whatever takes time happens when the test
// says so, in any order that a network allows. Nothing here is random but by the world's seed.

/** Real time, before a world takes its place. */
const turn = setImmediate;
const encoder = new TextEncoder();
const ok = { ok: true, status: 200, headers: new Headers({ "Content-Type": "application/json" }) };

/** What a topic's rule does to those who lag, by the topic's first segment (PROTOCOL.md §2.6, §5.17). */
const rule = (topic) => ({ c: "conflate", d: "drop", e: "ephemeral" })[topic[0]];

/** The client's modules outlive a world: time goes on in the next. */
let began = 0;

export class World {
  clock = (began += 1e9);
  /** All that was ever stored, in the order of the log: {id, topic, end}. */
  log = [];
  /** How many of the oldest are gone. */
  gone = 0;
  epoch = 1;
  connections = new Set();
  requests = new Set();
  #timers = new Map();
  #timer = 0;
  #state;

  constructor(seed) {
    this.#state = seed;
  }

  random(n) {
    // mulberry32
    let t = (this.#state = (this.#state + 0x6d2b79f5) | 0);
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % n;
  }

  of(set) {
    const all = [...set];
    return all[this.random(all.length)];
  }

  /** Has the clock and chance be the world's, as long as `run` goes on. */
  async during(run) {
    const { setTimeout, clearTimeout, performance, MessageChannel } = globalThis;
    const { random } = Math;
    globalThis.setTimeout = (call, ms = 0) => {
      this.#timers.set(++this.#timer, { call, at: this.clock + ms });
      return this.#timer;
    };
    globalThis.MessageChannel = class {
      port1 = { close() {} };
      port2 = { postMessage: () => globalThis.setTimeout(() => this.port1.onmessage()) };
    };
    globalThis.clearTimeout = (timer) => this.#timers.delete(timer);
    Object.defineProperty(globalThis, "performance", { configurable: true, writable: true, value: { now: () => this.clock, getEntriesByType: () => [] } });
    Math.random = () => this.random(1 << 30) / (1 << 30);
    try {
      await run();
    } finally {
      Object.assign(globalThis, { setTimeout, clearTimeout, MessageChannel });
      Object.defineProperty(globalThis, "performance", { configurable: true, writable: true, value: performance });
      Math.random = random;
    }
  }

  /** What was begun goes on until it has to wait. */
  settle() {
    return new Promise((done) => turn(done));
  }

  /** The timer that is due next, if it is by a time, which else has come. */
  tick(by = Infinity) {
    let next;
    for (const [timer, { at }] of this.#timers) if (!next || at < this.#timers.get(next).at) next = timer;
    if (!next || this.#timers.get(next).at > by) {
      if (by < Infinity) this.clock = by;
      return false;
    }
    const { call, at } = this.#timers.get(next);
    this.#timers.delete(next);
    this.clock = Math.max(this.clock, at);
    call();
    return true;
  }

  /** How many are to fire. */
  get timers() {
    return this.#timers.size;
  }

  // The log.

  publish(topic, end = false) {
    if (this.ended(topic)) return;
    this.log.push({ id: this.#id(this.log.length + 1), topic, end });
  }

  ended(topic) {
    return this.log.some((e) => e.end && e.topic === topic);
  }

  #id(place) {
    return `${this.epoch.toString(36)}-${place}`;
  }

  /** Retention removes some of the oldest. */
  evict() {
    this.gone = Math.min(this.log.length, this.gone + this.random(8));
  }

  /** The server goes down. Its newest entries may be lost; then their ids are not used again. */
  restart() {
    for (const connection of [...this.connections]) connection.cut();
    for (const request of [...this.requests]) this.requests.delete(request), request.fail(new TypeError("cut"));
    const lost = this.random(4);
    if (!lost) return;
    this.log.length = Math.max(this.gone, this.log.length - lost);
    this.epoch++;
  }

  /** The place of an id: how many entries it and those before are. */
  placeOf(id) {
    return this.log.findIndex((e) => e.id === id) + 1;
  }

  cursorAt(place) {
    return this.log[place - 1]?.id ?? "1-0";
  }

  #start(after) {
    if (!after || after === "now") return { place: this.log.length };
    if (after === "earliest") return { place: this.gone };
    const place = this.placeOf(after);
    // A cursor of case 1 counts as before the first event (PROTOCOL.md §4.6).
    return { place, unknown: !place && after !== this.cursorAt(0) };
  }

  /** Whether a reader who was at `from`, live since `live`, and now is given up to `to`, is given the entry there. */
  #kept(i, to, live) {
    const { topic } = this.log[i];
    if (rule(topic) === "ephemeral") return i >= live && to - i < 3;
    if (i < this.gone) return false;
    if (rule(topic) === "conflate") for (let j = i + 1; j < to; j++) if (this.log[j].topic === topic) return false;
    return true;
  }

  /** The $gap of who comes from a place, if what matches was evicted. */
  #lost(place, names, unknown = false) {
    for (let i = place; i < this.gone || unknown; i++) {
      const { topic } = this.log[i] ?? {};
      if (!unknown && (rule(topic) || !matches(names, topic))) continue;
      const oldest = this.log.findIndex((e, i) => i >= this.gone && rule(e.topic) !== "ephemeral" && matches(names, e.topic));
      return { oldest: this.log[oldest]?.id, place: oldest < 0 ? this.log.length : oldest };
    }
  }

  // Requests.

  fetch = (text, { signal, body } = {}) =>
    new Promise((done, fail) => {
      const url = new URL(text);
      const path = url.pathname.replace(/^\/topics\/?/, "").split("/").map(decodeURIComponent).join("/");
      const names = path ? [path] : url.searchParams.getAll("topic");
      if (body) names.push(...JSON.parse(body).topic);
      const request = { names, query: url.searchParams, fail, answer: undefined };
      const abort = () => this.requests.delete(request) && fail(signal.reason);
      request.done = (answer) => (signal?.removeEventListener("abort", abort), done(answer));
      this.requests.add(request);
      signal?.addEventListener("abort", abort, { once: true });
      if (signal?.aborted) abort();
      request.signal = signal;
    });

  /** The server takes a request, or its answer arrives. Tells whether anything has happened. */
  serve(request) {
    if (request.answer) {
      this.requests.delete(request);
      request.done(request.answer);
      return true;
    }
    const as = request.query.get("as");
    if (as === "sse" || as === "stream") {
      const after = request.query.get("after");
      if (request.names.length === 1 && this.ended(request.names[0])) {
        const end = this.log.findIndex((e) => e.end && e.topic === request.names[0]) + 1;
        const { place } = this.#start(after);
        if (place >= end) return (request.answer = { ...ok, status: 204 });
      }
      const connection = new Connection(this, as, request.names, request.query.get("after"));
      request.answer = { ...ok, body: { getReader: () => connection } };
      request.signal?.addEventListener("abort", () => connection.close());
      return true;
    }
    const page = this.#page(request);
    if (!page) return false;
    request.answer = { ...ok, json: async () => page };
    return true;
  }

  #page({ names, query }) {
    const after = query.get("after") ?? "now";
    let { place, unknown } = this.#start(after);
    const from = place;
    const lost = this.#lost(place, names, unknown);
    if (lost) place = lost.place;
    // Another server may answer that knows less. It does not know of a cursor beyond that, and waits for it.
    const end = Math.max(place, this.log.length - (this.random(4) ? 0 : this.random(4)));
    const only = names.length === 1 && !names[0].includes("*") ? names[0] : undefined;
    const events = [];
    const most = [1, 3, 10][this.random(3)];
    let ended = false;
    for (; place < end && events.length < most; place++) {
      const e = this.log[place];
      if (place < this.gone || rule(e.topic) === "ephemeral" || !matches(names, e.topic)) continue;
      if (e.end) ended = e.topic === only;
      else events.push(json(e));
    }
    if (only && !ended) ended = this.log.slice(0, place).some((e) => e.end && e.topic === only);
    // A long-poll is held.
    if (Number(query.get("wait")) && !events.length && !lost && !ended && this.random(10)) return;
    const cursor = place === from ? (after === "now" || after === "earliest" ? this.cursorAt(place) : after) : events.length && place < end ? events.at(-1).id : this.cursorAt(place);
    return {
      events,
      cursor,
      more: place < end && this.log.slice(place, end).some((e) => rule(e.topic) !== "ephemeral" && matches(names, e.topic)),
      ...(lost && { gap: { after, oldest: lost.oldest } }),
      ...(ended && { end: true }),
    };
  }

  get WebSocket() {
    const world = this;
    return class {
      readyState = 0;
      protocol = "";
      constructor(text) {
        const url = new URL(text);
        const path = url.pathname.replace(/^\/topics\/?/, "").split("/").map(decodeURIComponent).join("/");
        this.connection = new Connection(world, "websocket", path ? [path] : url.searchParams.getAll("topic"), url.searchParams.get("after"), this);
      }
      send(text) {
        this.connection.ops.push(JSON.parse(text));
      }
      close() {
        this.readyState = 3;
        this.connection.close();
      }
    };
  }

  /** Drawn from the world, for a connection. */
  begin(after) {
    return this.#start(after);
  }
  kept(i, to, live) {
    return this.#kept(i, to, live);
  }
  lost(place, names, unknown) {
    return this.#lost(place, names, unknown);
  }
}

/** A stream, as the server has it, and what is on its way. */
class Connection {
  ops = [];
  #world;
  #kind;
  #socket;
  #after;
  #names;
  /** What is subscribed, with the place from which on. */
  #subscribed = new Map();
  #place = 0;
  #live = 0;
  #begun = false;
  #out = [];
  /** What lagged before this place was dropped, if a topic's rule says so; and of that, what each subscription was told of. */
  #dropped = 0;
  #told = new Map();
  #waiting;
  #over = false;

  constructor(world, kind, names, after, socket) {
    this.#world = world;
    this.#kind = kind;
    this.#names = names;
    this.#after = after;
    this.#socket = socket;
    world.connections.add(this);
  }

  /** Something that may happen to it happens. Tells whether there was anything. */
  step() {
    const world = this.#world;
    const can = [];
    if (!this.#begun) can.push(() => this.#begin());
    else {
      if (this.#out.length && (this.#waiting || this.#socket)) can.push(() => this.#deliver(), () => this.#deliver(), () => this.#deliver());
      if (this.ops.length) can.push(() => this.#do(this.ops.shift()));
      if (this.#place < world.log.length) can.push(() => this.#read());
    }
    if (!can.length) return false;
    world.of(can)();
    return true;
  }

  #say(message) {
    this.#out.push(message);
  }

  #begin() {
    this.#begun = true;
    const world = this.#world;
    const start = world.begin(this.#after);
    this.#live = world.log.length;
    this.#place = start.place;
    for (const name of this.#names) this.#subscribed.set(name, start.place);
    if (this.#socket) {
      this.#socket.readyState = 1;
      this.#socket.protocol = "duplex.v1";
      this.#socket.onopen();
    }
    if (!this.#gaps(this.#after, start.unknown)) this.ping(true);
    for (const name of this.#names) this.#endOf(name);
  }

  /** The end of a topic is told again to who begins after it. */
  #endOf(name) {
    const end = this.#world.log.findIndex((e) => e.end && e.topic === name);
    if (end < 0 || end >= this.#place || (this.#names.length > 1 && !this.#socket)) return;
    this.#subscribed.delete(name);
    this.#say({ id: this.#world.log[end].id, event: "$end", data: { topic: name } });
  }

  /** Tells what is lost, if anything is. */
  #gaps(after, unknown) {
    const world = this.#world;
    let told = false;
    const places = [];
    for (const names of this.#groups()) {
      const lost = world.lost(Math.max(this.#place, this.#socket ? this.#subscribed.get(names[0]) : 0), names, unknown);
      places.push(lost ? lost.place : Math.max(this.#place, world.gone));
      if (!lost) continue;
      told = true;
      this.#say({ id: world.cursorAt(lost.place), event: "$gap", data: { after, oldest: lost.oldest, ...(this.#socket && { topic: names[0] }) } });
    }
    this.#place = places.length ? Math.min(...places) : Math.max(this.#place, world.gone);
    return told;
  }

  ping(first = false) {
    if (!this.#begun) return;
    const world = this.#world;
    const known = !this.#socket || first || this.#place === world.log.length;
    const places = this.#groups().map((names) => this.#untold(names)[0] ?? this.#place);
    this.#say({ ...(known && { id: world.cursorAt(Math.min(this.#place, ...places)) }), event: "$ping", data: { interval: 25 } });
  }

  /** The names of each subscription. */
  #groups() {
    return this.#socket ? [...this.#subscribed.keys()].map((name) => [name]) : [this.#names];
  }

  /** Reads a page of the log, once for all subscriptions. */
  #read() {
    const world = this.#world;
    if (this.#place < world.gone) return this.#overtaken();
    const to = Math.min(world.log.length, this.#place + 1 + world.random(5));
    if (this.#place >= this.#live && world.log.length - this.#place > 3) this.#dropped = world.log.length;
    const page = [];
    for (; this.#place < to; this.#place++) {
      const e = world.log[this.#place];
      if (this.#place >= this.#live && this.#place < this.#dropped && rule(e.topic) === "drop") continue;
      const wants = [...this.#subscribed].some(([name, from]) => from <= this.#place && matches([name], e.topic));
      if (wants && world.kept(this.#place, world.log.length, this.#live)) page.push(e);
    }
    this.#drop(page);
    for (const e of page) {
      if (e.end) this.#say({ id: e.id, event: "$end", data: { topic: e.topic } });
      else this.#say(json(e));
      if (!e.end || !this.#subscribed.delete(e.topic) || this.#socket || this.#names.length > 1) continue;
      this.#out.push(undefined); // the end of the answer
      this.#place = world.log.length;
      return;
    }
  }

  /** The places of what a subscription was not given, and was not told of. */
  #untold(names) {
    const from = Math.max(this.#live, this.#told.get(names[0]) ?? 0, this.#socket ? this.#subscribed.get(names[0]) : 0);
    const places = [];
    for (let i = from; i < this.#dropped; i++) if (rule(this.#world.log[i].topic) === "drop" && matches(names, this.#world.log[i].topic)) places.push(i);
    return places;
  }

  /**
   * Tells once of what was dropped, before a page: when that says where it ends, or brings others what
   * lies behind (PROTOCOL.md §5.17).
   */
  #drop(page) {
    const world = this.#world;
    for (const names of this.#groups()) {
      const untold = this.#untold(names);
      if (!untold.length) continue;
      const next = page.find((e) => matches(names, e.topic));
      const passed = this.#place === world.log.length || (page.length && world.placeOf(page.at(-1).id) > untold[0]);
      if (!next && !passed) continue;
      const place = next ? world.placeOf(next.id) - 1 : this.#place;
      const to = untold.at(-1) + 1;
      this.#told.set(names[0], this.#dropped);
      this.#say({
        id: world.cursorAt(place),
        event: "$gap",
        data: { after: world.cursorAt(untold[0]), oldest: next?.id, ...(to > place && { to: world.cursorAt(to) }), ...(this.#socket && { topic: names[0] }) },
      });
    }
  }

  /** Retention was faster. */
  #overtaken() {
    if (!this.#gaps(this.#world.cursorAt(this.#place))) this.#place = this.#world.gone;
  }

  #do({ op, ref, topic }) {
    const world = this.#world;
    if (op === "subscribe") {
      this.#subscribed.set(topic, world.log.length);
      this.#say({ op: "ok", ref, id: world.cursorAt(world.log.length) });
      return this.#endOf(topic);
    }
    if (op === "unsubscribe") this.#subscribed.delete(topic);
    this.#say({ op: "ok", ref });
  }

  #deliver() {
    const message = this.#out.shift();
    const text = JSON.stringify(message);
    if (this.#socket) {
      this.#socket.onmessage({ data: text });
      // Those of WebTransport may come in one task.
      if (this.#out.length && !this.#world.random(3) && !this.#over) this.#deliver();
      return;
    }
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (!message) {
      this.#world.connections.delete(this);
      return waiting.done({ done: true });
    }
    waiting.done({ done: false, value: encoder.encode(this.#kind === "sse" ? `data: ${text}\n\n` : `${text}\n`) });
  }

  /** Of a body's reader. */
  read() {
    return new Promise((done, fail) => (this.#over ? fail(new TypeError("cut")) : (this.#waiting = { done, fail })));
  }

  /** The client ends it. */
  close() {
    this.#over = true;
    this.#world.connections.delete(this);
    this.#waiting?.fail(new TypeError("aborted"));
  }

  /** The network ends it. What was on its way is gone. */
  cut() {
    this.close();
    if (!this.#socket) return;
    this.#socket.readyState = 3;
    this.#socket.onclose({ code: 1006, reason: "" });
  }
}

const json = ({ id, topic }) => ({ id, topic, data: 0, time: "2026-08-22T10:15:30Z" });

/** PROTOCOL.md §2.2, said once more, so that the client's is not its own judge. */
export function matches(names, topic) {
  return names.some((name) => new RegExp(`^${name.split("/").map((s) => (s === "**" ? ".+" : s === "*" ? "[^/]+" : s)).join("/")}$`).test(topic));
}
