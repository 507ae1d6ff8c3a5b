/** An event of a topic, or a signal about the subscription (PROTOCOL.md §3, §6). */
export interface TopicEvent<T = any> {
    /** Where to go on: `subscribe(topic, { after: id })` gives what follows. Opaque. */
    id: string;
    /** The topic it was published to. Signals have none. */
    topic: string;
    /**
     * Its type, `message` unless it was published with another one. Two are signals:
     * `$gap`: events after `data.after` are gone, the next one is `data.oldest`; more may be missing up to `data.to`.
     * `$end`: the topic `data.topic` has ended.
     */
    event: string;
    /** The JSON value, the text, or the bytes as a Uint8Array (then `binary` is true). */
    data: T;
    /** The media type, if it says more than JSON or plain text. */
    media?: string;
    binary?: true;
    /** When the server stored it, RFC 3339. Signals have none. */
    time?: string;
}
/** A page of what is kept (PROTOCOL.md §5.4). */
export interface Page<T = any> {
    events: TopicEvent<T>[];
    /** Where to go on, with `after`. */
    cursor: string;
    /** Whether there is more after the cursor already. */
    more: boolean;
    /** Events after the cursor that was asked for are gone. */
    gap?: Gap;
    /** The topic has ended, and this is its last page. */
    end?: true;
    /** Of several topics: those that have ended meanwhile, each as a `$end`. */
    ends?: TopicEvent[];
}
export interface Gap {
    after: string;
    /** The oldest event that is left, if one is. */
    oldest?: string;
}
/** Who is on a topic (PROTOCOL.md §14). */
export interface Member {
    member: string;
    verified: boolean;
}
/**
 * From the one that is preferred to the one that always gets through. `webtransport` is used by who
 * names it in `transports`, has no token, and has HTTP/3 to the server.
 */
export type Transport = "websocket" | "webtransport" | "sse" | "stream" | "longpoll" | "poll";
export interface Options {
    /** Sent as a bearer token with every request and handshake, never in a URL. */
    token?: string;
    /** Asked for a token before each connection, instead of `token`. */
    getToken?: () => string | undefined | Promise<string | undefined>;
    /** The transports that may be used, the preferred one first. Default: all but `webtransport`. */
    transports?: Transport[];
    /** Who this client is, for presence (PROTOCOL.md §14.1). */
    member?: string;
    /** How many publishes may wait for the server. More are refused. Default 1000. */
    outbox?: number;
    /** Keeps publishes over reloads of the page. Default: in memory only. */
    store?: OutboxStore;
    /** Takes the place of the global `fetch`. */
    fetch?: typeof fetch;
    /** Takes the place of the global `WebSocket`; null: there is none. */
    WebSocket?: typeof WebSocket | null;
}
export interface SubscribeOptions {
    /** Where to begin: an id, `earliest`, or `now`, which is the default. */
    after?: string;
    /** Ends the subscription. */
    signal?: AbortSignal;
}
export interface PublishOptions {
    /** The event's type. Default `message`. */
    event?: string;
    /** The idempotency key, so that other clients may repeat this publish. Default: a random one. */
    key?: string;
    /** The media type. Default: `text/plain`, `application/octet-stream` or `application/json`. */
    media?: string;
    /** Gives up: takes the publish out of the outbox, if it is not on its way already. */
    signal?: AbortSignal;
}
export interface HistoryOptions {
    /** Where the page begins. Default: the newest page. */
    after?: string;
    /** How many events at most, up to 1000. Default 100. */
    limit?: number;
    signal?: AbortSignal;
}
/** How the client is connected. Never changed: each change makes a new one. */
export interface Status {
    /**
     * `idle`: nothing is subscribed (any more, for some seconds; if the server has refused, `error` says why).
     * `connecting`, `connected`, `waiting` (to connect again), `closed`.
     */
    readonly state: "idle" | "connecting" | "connected" | "waiting" | "closed";
    /** What carries the events while it is `connected`. */
    readonly transport?: Transport;
    /** The version of HTTP below it, as `h2`: of a WebSocket or a session as the server sees it, else where the runtime tells. */
    readonly version?: string;
    /** Milliseconds from a question to its answer, when last measured. */
    readonly latency?: number;
    /** Why other transports were not taken, or were lost, by their name. */
    readonly failed: Readonly<Partial<Record<Transport, string>>>;
    /** Why it is `waiting`, or `idle` again. */
    readonly error?: DuplexError;
    /** How many publishes wait in the outbox. */
    readonly waiting: number;
}
/** A publish as it waits in the outbox. */
export interface Publication {
    /** The idempotency key, which makes it harmless to repeat. */
    key: string;
    topic: string;
    event?: string;
    media: string;
    /** Text, JSON as text, or bytes. */
    data: string | Uint8Array<ArrayBuffer>;
    /** When it was first sent with an unknown outcome, in milliseconds since 1970. */
    sent?: number;
    /** A message was too long for the server, which refuses a POST alone. */
    post?: true;
    /** It is several, as lines (PROTOCOL.md §7.3). */
    batch?: true;
}
/** Keeps publications over reloads. */
export interface OutboxStore {
    /** What is kept, in the order in which it was first put. It is asked at the start, and again with each connection. */
    load(): Promise<Publication[]>;
    /** Keeps a publication, or changes the one with its key. */
    put(publication: Publication): Promise<void>;
    remove(key: string): Promise<void>;
    /** The client is closed: others may have what it has left. */
    close?(): void;
}
/** A refusal by the server (RFC 9457, PROTOCOL.md §9), or a fault on the way to it. */
export declare class DuplexError extends Error {
    /** What happened: the last word of a problem's type, as `topic-ended`, or `unreachable`, `cut`, `silent`, `unknown`, ... */
    readonly code: string;
    /** The HTTP status; 0 if there was no answer. */
    readonly status: number;
    /** Whether the same may succeed later (PROTOCOL.md §15.6). */
    readonly retryable: boolean;
    /** The milliseconds after which the server wants to be asked again. */
    readonly retryAfter: number;
    /** Whether a Duplex server says so, and nobody between. */
    readonly problem: boolean;
    constructor(code: string, message: string, status?: number, retryAfter?: number, problem?: boolean);
}
/** A topic that is asked for alone has ended, and all of it was read. */
export declare const ended: () => DuplexError;
/** What an answer says that is none of the good ones. */
export declare function refusal(response: Response): Promise<DuplexError>;
/** A problem, of an answer or of an op. */
export declare function problemOf({ type, title, detail, status }: Record<string, any>, retryAfter?: number): DuplexError;
/** Events of topics and patterns, in order, each once, for as long as it is wanted. */
export declare class Subscription<T = any> implements AsyncIterable<TopicEvent<T>> {
    #private;
    /** Where another subscription would go on. */
    cursor: string;
    /** Resolves when what is published from now on will be given; rejects if that is refused. */
    readonly ready: Promise<void>;
    /** Resolves when nothing follows; rejects if the server refuses. */
    readonly over: Promise<void>;
    /** Called when it has its place in the log: at first, and again after each loss of the connection. */
    onplaced: (() => void) | undefined;
    /** Ends it; an iteration that is under way ends, too. */
    close(): void;
    [Symbol.asyncIterator](): AsyncGenerator<TopicEvent<T>, void, undefined>;
}
/**
 * A client of one server. It connects when there is something to do, by whatever transport gets
 * through, and dispatches `status` when its status has changed. It dispatches `failed`, with `detail`
 * of `publication` and `error`, for what an earlier page has left in the outbox and cannot be told to
 * anybody else.
 */
export declare class Client extends EventTarget {
    #private;
    /**
     * `url` is that of the server, as `https://example.com`, with a path if it is below one. In a page it
     * may be relative: `/`.
     */
    constructor(url: string | URL, options?: Options);
    /** How it is connected. */
    get status(): Status;
    /**
     * The events of topics and patterns (`orders/*`, `orders/**`), as an iterable or by a callback. It
     * survives every loss of the connection. Besides events it gives `$gap` and `$end`.
     */
    subscribe<T = any>(topics: string | readonly string[], options?: SubscribeOptions): Subscription<T>;
    subscribe<T = any>(topics: string | readonly string[], callback: (event: TopicEvent<T>) => void, options?: SubscribeOptions): Subscription<T>;
    /**
     * Appends an event to a topic, and resolves with its id once it is stored. While there is no
     * connection it waits in the outbox. `data` is text, bytes, or anything that JSON can say.
     */
    publish(topic: string, data: unknown, options?: PublishOptions): Promise<string>;
    /** Ends a topic, after what was published to it here: its subscribers get `$end`, and it takes no more events. */
    end(topic: string, { signal }?: {
        signal?: AbortSignal;
    }): Promise<void>;
    /** A page of what is kept: the newest one, or what follows `after`. */
    history<T = any>(topics: string | readonly string[], { after, limit, signal }?: HistoryOptions): Promise<Page<T>>;
    /** Changes the transports that may be used. It takes over to the first of them that works. */
    use(transports: readonly Transport[]): void;
    /** Finds out within 2 s whether the connection works, or makes a new one. Pages do so when they come back. */
    check(): void;
    /** Ends all subscriptions, and gives up what waits in the outbox, unless a store keeps it. */
    close(): void;
}
/** What `check` found out about one transport (PROTOCOL.md §15.10). */
export interface Checked {
    transport: Transport;
    /** The version of HTTP, as `HTTP/2`, where the browser tells. */
    version?: string;
    works: boolean;
    /** Milliseconds to the first signal, on a connection that is there where the browser keeps one. */
    firstSignal?: number;
    /** About how many bytes a message of 64 bytes takes beyond them. */
    overhead?: number;
    /** Why it does not work: for programs, and for people. */
    cause?: Cause;
    why?: string;
}
export type Cause = "not-offered" | "unreached" | "udp-blocked" | "upgrade-refused" | "unanswered" | "silent" | "held" | "cut" | "unauthorized" | "origin-refused" | "host-refused" | "busy" | "not-duplex" | "other";
export interface CheckOptions {
    token?: string;
    /** Milliseconds after which a transport is given up. Default 5000. */
    timeout?: number;
    signal?: AbortSignal;
    /** Is called with each result as it comes. */
    onresult?: (checked: Checked) => void;
}
export interface CheckReport {
    results: Checked[];
    /** The transport that clients will use; undefined if none works. */
    best?: Transport;
    /** What to make of it. */
    advice: string;
}
/**
 * Keeps publications in IndexedDB, so that they outlive the page: a reload, a crash, the browser's
 * end. Each client keeps its own; what one has left behind, another takes over, in the order in which
 * it was made. The name stands for a server and its user.
 */
export declare function indexedDBStore(name: string): OutboxStore;
export interface DuplexOptions extends Options {
    /**
     * Tabs of one browser share one connection, that of the one whose token counts. A string separates
     * those who must not share, as the users of a site. Default: each client has its own.
     */
    shared?: boolean | string;
    /**
     * Keeps publishes in IndexedDB until the server has them, over reloads and the browser's end. A
     * string separates those whose publishes others must not send. Default: in memory only.
     */
    persist?: boolean | string;
}
/** A client that can also share its connection with other tabs, tell who is there, and what a network lets through. */
export declare class Duplex extends Client {
    constructor(url: string | URL, options?: DuplexOptions);
    /** Who is on a topic: now, and again each time that changes (PROTOCOL.md §14). */
    presence(topic: string, { signal }?: {
        signal?: AbortSignal;
    }): AsyncGenerator<Member[], void, undefined>;
    /** Tries every transport between here and a server, and tells which get through, and why others do not. */
    static check(url: string | URL, options?: CheckOptions): Promise<CheckReport>;
}
