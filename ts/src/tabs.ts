// Tabs of one browser share one connection. Who holds a Web Lock leads: it has the connection, and
// gives the others over a BroadcastChannel what it brings. Every current browser has both; a
// SharedWorker would need a script of its own, and some browsers of telephones have none. Each tab
// keeps its own cursors, with which it goes on at the next leader.

import type { Publication, Status, TopicEvent, Transport } from "./api.ts";
import type { Connection, Feed, OpenConnection, Sink } from "./connection.ts";
import { DuplexError } from "./errors.ts";

/** Milliseconds of silence after which a leader is asked, and after which another takes its place. */
const quiet = 1500;
const dead = 3500;

/** How many events a tab may be behind the others and still be served from memory. */
const kept = 200;

type State = Connection["status"];

/** What a sink is told, in one word each. */
type Item = { take: TopicEvent } | { moved: string } | { placed: true } | { over: Fault | null };

/** A DuplexError, as a channel can carry it. */
type Fault = Pick<DuplexError, "code" | "message" | "status" | "retryAfter" | "problem">;

/** From a tab to the leader. `turn` tells the askings of a feed apart. */
type Request =
  | { say: "read"; tab: string; feed: number; turn: number; names: readonly string[]; after: string }
  | { say: "close"; tab: string; feed: number }
  | { say: "publish"; tab: string; ref: number; publication: Publication }
  | { say: "use"; transports: readonly Transport[] }
  | { say: "check"; online: boolean }
  | { say: "alive?" | "who?" }
  | { say: "bye"; tab: string };

/** From the leader. With `joins`, the feed gets what is said to its group from then on. */
type Reply =
  | { say: "lead"; status: State; fault?: Fault }
  | { say: "alive" }
  | { say: "feed"; tab: string; feed: number; turn: number; items: Item[]; joins?: true }
  | { say: "group"; group: string; items: Item[] }
  | { say: "answer"; tab: string; ref: number; id?: string | string[]; fault?: Fault };

type Message = (Request & { to: string }) | (Reply & { leader: string });

/**
 * A connection that all tabs with the same name have in common. Where the browser does not let tabs
 * know of each other (on an insecure page, in an old browser), each has its own.
 */
export function share(name: string, open: OpenConnection, changed: () => void): Connection {
  if (!globalThis.navigator?.locks || !globalThis.BroadcastChannel) return open(changed);
  return new Tabs(`duplex ${name}`, open, changed);
}

/** A feed of this tab, and how far it has come. */
interface Reader {
  names: readonly string[];
  group: string;
  after: string;
  sink: Sink;
  turn: number;
  joined: boolean;
  paused: boolean;
}

class Tabs implements Connection {
  status: State = { state: "idle", failed: {} };
  readonly #name: string;
  readonly #open: OpenConnection;
  readonly #changed: () => void;
  readonly #tab = crypto.randomUUID();
  readonly #readers = new Map<number, Reader>();
  readonly #publishes = new Map<number, { done: (id: string | string[]) => void; fail: (error: DuplexError) => void }>();
  #count = 0;
  #used: readonly Transport[] | undefined;
  #closed = false;

  /** Ends the part that this tab takes; undefined while it takes none. */
  #part: AbortController | undefined;
  #waiting: AbortController | undefined;
  #channel: BroadcastChannel | undefined;
  #lead: Lead | undefined;
  #leader = "";
  #heard = 0;

  constructor(name: string, open: OpenConnection, changed: () => void) {
    this.#name = name;
    this.#open = open;
    this.#changed = changed;
    this.#listen("addEventListener");
    this.#join();
  }

  /** A page that the browser puts aside can neither lead nor follow. */
  #listen(method: "addEventListener" | "removeEventListener"): void {
    const page = globalThis.document;
    page?.[method]("freeze", this.#leave);
    page?.[method]("resume", this.#join);
    page?.[method]("visibilitychange", this.#wake);
    if (page) globalThis[method]("pagehide", this.#leave);
    if (page) globalThis[method]("pageshow", this.#join);
  }

  read(names: readonly string[], after: string, sink: Sink): Feed {
    const feed = ++this.#count;
    const reader: Reader = { names, group: JSON.stringify(names), after, sink, turn: 0, joined: false, paused: false };
    this.#readers.set(feed, reader);
    this.#ask(feed, reader);
    const stop = (): void => this.#say({ say: "close", tab: this.#tab, feed });
    return {
      pause: () => {
        reader.paused = true;
        reader.turn++;
        reader.joined = false;
        stop();
      },
      resume: () => {
        reader.paused = false;
        this.#ask(feed, reader);
      },
      close: () => {
        if (this.#readers.delete(feed)) stop();
      },
    };
  }

  publish(publication: Publication): Promise<string | string[]> {
    const ref = ++this.#count;
    return new Promise((done, fail) => {
      if (this.#closed) return fail(new DuplexError("closed", "the client is closed"));
      if (!this.#lead && !this.#leader) return fail(new DuplexError("unreachable", "no tab has the connection"));
      this.#publishes.set(ref, { done, fail });
      this.#say({ say: "publish", tab: this.#tab, ref, publication });
    });
  }

  pipelines(publication: Publication): boolean {
    return this.#lead?.connection.pipelines(publication) ?? false;
  }

  use(transports: readonly Transport[]): void {
    this.#used = transports;
    this.#say({ say: "use", transports });
  }

  check(online = false): void {
    this.#wake();
    this.#say({ say: "check", online });
  }

  close(): void {
    this.#closed = true;
    this.#listen("removeEventListener");
    this.#leave();
    this.#failPublishes(new DuplexError("closed", "the client is closed"));
    const readers = [...this.#readers.values()];
    this.#readers.clear();
    this.status = { state: "closed", failed: {} };
    this.#changed();
    for (const { sink } of readers) sink.over();
  }

  /** Takes part, if it does not. */
  readonly #join = (): void => {
    if (this.#part || this.#closed) return;
    const part = (this.#part = new AbortController());
    this.#heard = Date.now();
    // By this lock the leader knows that the tab lives.
    void hold(`${this.#name} ${this.#tab}`, { signal: part.signal }, () => {
      this.#channel = new BroadcastChannel(this.#name);
      this.#channel.onmessage = ({ data }: MessageEvent<Message>) => this.#hear(data);
      this.#candidate(false);
      return aborted(part.signal);
    });
    let ticked = Date.now();
    const timer = setInterval(() => {
      const now = Date.now();
      if (now - ticked > 2 * quiet) this.#heard = now - quiet; // it was this tab that slept
      ticked = now;
      this.#look();
    }, 1000);
    void aborted(part.signal).then(() => clearInterval(timer));
  };

  /** Leaves its place to others. What it has read stays read. */
  readonly #leave = (): void => {
    if (!this.#part) return;
    this.#say({ say: "bye", tab: this.#tab });
    this.#resign();
    this.#part.abort();
    this.#part = undefined;
    this.#waiting?.abort();
    this.#channel?.close();
    this.#channel = undefined;
  };

  /** Waits to lead, or takes the place of a leader that does not answer. */
  #candidate(steal: boolean): void {
    const part = this.#part;
    if (!part) return;
    this.#waiting?.abort();
    const waiting = (this.#waiting = new AbortController());
    if (!steal) this.#say({ say: "who?" });
    void hold(this.#name, steal ? { steal } : { signal: waiting.signal }, async () => {
      if (part.signal.aborted || waiting.signal.aborted) return;
      const lead = (this.#lead = new Lead(this.#tab, this.#open, (reply) => this.#tell(lead, reply), `${this.#name} `));
      lead.announce();
      await aborted(part.signal);
    }).then((stolen) => {
      if (!stolen) return;
      this.#resign();
      this.#candidate(false);
    });
  }

  #resign(): void {
    this.#lead?.close();
    this.#lead = undefined;
    this.#leader = "";
    for (const reader of this.#readers.values()) reader.joined = false;
  }

  /** Looks after the leader. */
  #look(): void {
    if (!this.#part || this.#lead) return;
    const silent = Date.now() - this.#heard;
    if (silent > dead) {
      this.#heard = Date.now();
      this.#candidate(true);
    } else if (silent > quiet) {
      this.#say({ say: this.#leader ? "alive?" : "who?" });
    }
  }

  /** The leader may have been put to sleep while nobody looked. */
  readonly #wake = (): void => {
    this.#heard = Math.min(this.#heard, Date.now() - quiet - 1);
    this.#look();
  };

  /** Without a leader, only who leads is asked: the rest is said when there is one. */
  #say(request: Request): void {
    const lead = this.#lead;
    if (lead) queueMicrotask(() => lead.hear(request));
    else if (this.#leader || request.say === "who?") this.#channel?.postMessage({ ...request, to: this.#leader } satisfies Message);
  }

  /** What the leader says, its own tab hears, too. */
  #tell(lead: Lead, reply: Reply): void {
    const message: Message = { ...reply, leader: lead.id };
    if ("tab" in reply ? reply.tab !== this.#tab : reply.say !== "group" || lead.others) this.#channel?.postMessage(message);
    this.#hear(message);
  }

  #hear(message: Message): void {
    if (!("leader" in message)) {
      if (this.#lead && (!message.to || message.to === this.#lead.id)) this.#lead.hear(message);
      return;
    }
    if (this.#lead && this.#lead.id !== message.leader) return; // it has taken the place of that one
    if (message.say === "lead") return this.#follow(message.leader, message.status, message.fault);
    if (message.leader !== this.#leader) return;
    this.#heard = Date.now();
    if (message.say === "group") {
      for (const [feed, reader] of [...this.#readers]) if (reader.joined && reader.group === message.group) this.#take(feed, reader, message.items);
    } else if (message.say === "alive" || message.tab !== this.#tab) {
      return;
    } else if (message.say === "feed") {
      const reader = this.#readers.get(message.feed);
      if (!reader || reader.turn !== message.turn) return;
      if (message.joins) reader.joined = true;
      this.#take(message.feed, reader, message.items);
    } else {
      const publish = this.#publishes.get(message.ref);
      this.#publishes.delete(message.ref);
      if (message.fault) publish?.fail(errorOf(message.fault));
      else publish?.done(message.id!);
    }
  }

  #follow(leader: string, status: State, fault?: Fault): void {
    const other = this.#leader !== leader;
    this.#leader = leader;
    this.#heard = Date.now();
    this.status = fault ? { ...status, error: errorOf(fault) } : status;
    if (other) {
      // What the leader before has not answered may be done or not: the outbox repeats it.
      this.#failPublishes(new DuplexError("cut", "the tab with the connection is gone"));
      if (this.#used) this.#say({ say: "use", transports: this.#used });
      for (const [feed, reader] of this.#readers) if (!reader.paused) this.#ask(feed, reader);
    }
    this.#changed();
  }

  #ask(feed: number, reader: Reader): void {
    reader.joined = false;
    reader.turn++;
    this.#say({ say: "read", tab: this.#tab, feed, turn: reader.turn, names: reader.names, after: reader.after });
  }

  #take(feed: number, reader: Reader, items: Item[]): void {
    const { turn } = reader;
    for (const item of items) {
      if (this.#readers.get(feed) !== reader || reader.turn !== turn) return; // closed, or paused, by what it took
      if ("take" in item) {
        reader.after = item.take.id;
        reader.sink.take(item.take);
      } else if ("moved" in item) {
        reader.after = item.moved;
        reader.sink.moved(item.moved);
      } else if ("placed" in item) {
        reader.sink.placed();
      } else {
        this.#readers.delete(feed);
        reader.sink.over(item.over ? errorOf(item.over) : undefined);
      }
    }
  }

  #failPublishes(error: DuplexError): void {
    const publishes = [...this.#publishes.values()];
    this.#publishes.clear();
    for (const { fail } of publishes) fail(error);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((done) => (signal.aborted ? done() : signal.addEventListener("abort", () => done())));
}

/** Holds a lock until the work is done. Tells whether it was stolen. */
async function hold(name: string, options: LockOptions, work: () => Promise<void>): Promise<boolean> {
  let held = false;
  try {
    await navigator.locks.request(name, options, () => {
      held = true;
      return work();
    });
    return false;
  } catch {
    return held; // else it was not waited for any more
  }
}

/** The leader's part: it has the connection, and knows who reads what. */
class Lead {
  readonly id: string = crypto.randomUUID();
  readonly connection: Connection;
  readonly #own: string;
  readonly #tell: (reply: Reply) => void;
  readonly #lock: string;
  readonly #groups = new Map<string, Group>();
  readonly #tabs = new Map<string, AbortController>();
  #closed = false;

  constructor(own: string, open: OpenConnection, tell: (reply: Reply) => void, lock: string) {
    this.#own = own;
    this.#lock = lock;
    this.#tell = (reply) => {
      if (!this.#closed) tell(reply);
    };
    this.connection = open(() => this.announce());
  }

  /** Whether other tabs read anything. */
  get others(): boolean {
    return this.#tabs.size > 0;
  }

  announce(): void {
    if (!this.connection) return; // it is about to be
    const { error, ...status } = this.connection.status;
    this.#tell({ say: "lead", status, ...(error && { fault: faultOf(error) }) });
  }

  hear(request: Request): void {
    if (this.#closed) return;
    switch (request.say) {
      case "read":
        this.#watch(request.tab);
        this.#read(request.names).join(request.tab, request.feed, request.turn, request.after, this.connection);
        break;
      case "close":
        for (const group of [...this.#groups.values()]) group.leave(request.tab, request.feed);
        break;
      case "publish":
        this.connection.publish(request.publication).then(
          (id) => this.#tell({ say: "answer", tab: request.tab, ref: request.ref, id }),
          (error: unknown) => this.#tell({ say: "answer", tab: request.tab, ref: request.ref, fault: faultOf(error) }),
        );
        break;
      case "use":
        this.connection.use(request.transports);
        break;
      case "check":
        this.connection.check(request.online);
        break;
      case "bye":
        this.#drop(request.tab);
        break;
      case "alive?":
        this.#tell({ say: "alive" });
        break;
      case "who?":
        this.announce();
    }
  }

  close(): void {
    this.#closed = true;
    for (const gone of this.#tabs.values()) gone.abort();
    this.connection.close();
  }

  #read(names: readonly string[]): Group {
    const key = JSON.stringify(names);
    let group = this.#groups.get(key);
    if (!group) this.#groups.set(key, (group = new Group(key, names, this.#tell, () => this.#groups.delete(key))));
    return group;
  }

  /** A tab that is gone has left its lock. */
  #watch(tab: string): void {
    if (tab === this.#own || this.#tabs.has(tab)) return;
    const gone = new AbortController();
    this.#tabs.set(tab, gone);
    void hold(this.#lock + tab, { signal: gone.signal }, async () => this.#drop(tab));
  }

  #drop(tab: string): void {
    this.#tabs.get(tab)?.abort();
    this.#tabs.delete(tab);
    for (const group of [...this.#groups.values()]) group.leave(tab);
  }
}

/** The feeds of all tabs for the same names: one feed of the connection. */
class Group {
  readonly #key: string;
  readonly #names: readonly string[];
  readonly #tell: (reply: Reply) => void;
  readonly #ended: () => void;
  #feed: Feed | undefined;
  /** By tab and feed; those who catch up have a feed of their own. */
  readonly #members = new Map<string, Feed | undefined>();
  /** The newest events, with the cursors between. */
  #items: Item[] = [];
  /** Where the items begin, and where they end. */
  #first = "";
  #last = "";
  #untold: Item[] = [];
  #placed = false;

  constructor(key: string, names: readonly string[], tell: (reply: Reply) => void, ended: () => void) {
    this.#key = key;
    this.#names = names;
    this.#tell = tell;
    this.#ended = ended;
  }

  join(tab: string, feed: number, turn: number, after: string, connection: Connection): void {
    const member = `${tab} ${feed}`;
    this.#members.get(member)?.close();
    this.#members.set(member, undefined);
    const tell = (items: Item[], joins?: true): void => this.#tell({ say: "feed", tab, feed, turn, items, ...(joins && { joins }) });
    if (!this.#feed) {
      this.#first = this.#last = after;
      tell([], true);
      this.#feed = connection.read(this.#names, after, this.#sink);
      return;
    }
    this.#flush();
    const placed: Item[] = this.#placed ? [{ placed: true }] : [];
    const from = after === "now" ? this.#items.length : this.#after(after);
    if (from >= 0) {
      const here: Item[] = after === "now" && this.#placed ? [{ moved: this.#last }] : [];
      return tell([...here, ...this.#items.slice(from), ...placed], true);
    }
    // It has to catch up until it is where the others are.
    const own = connection.read(this.#names, after, {
      placed: () => tell([{ placed: true }]),
      take: (take) => came({ take }, take.id),
      moved: (moved) => came({ moved }, moved),
      over: (error) => tell([{ over: error ? faultOf(error) : null }]),
    });
    const came = (item: Item, cursor: string): void => {
      tell([item]);
      if (cursor !== this.#last || !this.#placed || this.#members.get(member) !== own) return;
      this.#flush();
      this.#members.set(member, undefined);
      own.close();
      tell([{ placed: true }], true);
    };
    this.#members.set(member, own);
  }

  /** One member leaves, or all of a tab. */
  leave(tab: string, feed?: number): void {
    for (const [member, own] of [...this.#members]) {
      if (feed === undefined ? !member.startsWith(`${tab} `) : member !== `${tab} ${feed}`) continue;
      own?.close();
      this.#members.delete(member);
    }
    if (this.#members.size) return;
    this.#feed?.close();
    this.#ended();
  }

  /** Where the items after a cursor begin, or -1. */
  #after(cursor: string): number {
    for (let i = this.#items.length - 1; i >= 0; i--) {
      const item = this.#items[i]!;
      if ("take" in item ? item.take.id === cursor : "moved" in item && item.moved === cursor) return i + 1;
    }
    return cursor === this.#first ? 0 : -1;
  }

  readonly #sink: Sink = {
    placed: () => {
      this.#placed = true;
      this.#add({ placed: true });
    },
    take: (take) => this.#add({ take }, take.id),
    moved: (moved) => this.#add({ moved }, moved),
    over: (error) => {
      this.#add({ over: error ? faultOf(error) : null });
      this.#flush();
      this.#ended();
    },
  };

  #add(item: Item, cursor?: string): void {
    if (cursor) {
      this.#last = cursor;
      this.#items.push(item);
      if (this.#items.length > 2 * kept) {
        const [last] = this.#items.splice(0, kept).slice(-1);
        this.#first = "take" in last! ? last.take.id : (last as { moved: string }).moved;
      }
    }
    if (this.#untold.push(item) === 1) queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    const items = this.#untold;
    this.#untold = [];
    if (items.length) this.#tell({ say: "group", group: this.#key, items });
  }
}

function faultOf(error: unknown): Fault {
  const e = error instanceof DuplexError ? error : new DuplexError("cut", String(error));
  return { ...e, message: e.message };
}

function errorOf({ code, message, status, retryAfter, problem }: Fault): DuplexError {
  return new DuplexError(code, message, status, retryAfter, problem);
}
