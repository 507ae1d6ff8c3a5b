// The agent of the conformance suite (client/conformance/doc.go): commands come on stdin,
// reports go to stdout, a JSON object per line.
import { createInterface } from "node:readline";
import { Duplex } from "../dist/client.js";

const report = (line) => process.stdout.write(JSON.stringify(line) + "\n");

/** What a browser keeps for an origin. */
const kept = new Map();
globalThis.localStorage = {
  getItem: (key) => kept.get(key) ?? null,
  setItem: (key, value) => kept.set(key, value),
};

let client;
const subscriptions = new Map();

const errorOf = (e) => ({ status: e.status || undefined, name: e.problem ? e.code : undefined, text: e.message || String(e) });

const statusOf = ({ state, transport, failed }) => ({ state, transport, failed });

/** An event as it came. */
function wire({ data, ...event }) {
  if (event.event === "message") delete event.event;
  if (event.binary) data = `data:${event.media};base64,${Buffer.from(data).toString("base64")}`;
  return { ...event, data };
}

/** Reports what is awaited. */
async function answer(ref, work) {
  try {
    report({ report: "answer", ref, ...(await work) });
  } catch (e) {
    report({ report: "answer", ref, error: errorOf(e) });
  }
}

const commands = {
  open({ server, transports, tokens, remembered, ca }) {
    if (ca) process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0"; // node takes authorities only when it starts
    kept.clear();
    if (remembered) kept.set(`duplex:transport:${new URL(server).origin}`, `${remembered} ${Date.now()}`);
    const getToken = tokens && (() => (tokens.length > 1 ? tokens.shift() : tokens[0]));
    client = new Duplex(server, { transports, getToken, ...globalThis.agentOptions });
    let last;
    const opened = client;
    client.addEventListener("status", () => {
      const text = JSON.stringify(statusOf(opened.status));
      if (text === last) return;
      last = text;
      report({ report: "status", status: JSON.parse(text) });
      if (opened.status.state === "closed") setTimeout(() => report({ report: "closed" })); // the last word
    });
    report({ report: "opened" });
  },
  subscribe({ ref, topic, after }) {
    try {
      const subscription = client.subscribe(topic, (event) => report({ report: "event", ref, event: wire(event) }), { after });
      subscription.onplaced = () => report({ report: "placed", ref });
      subscriptions.set(ref, subscription);
      subscription.over.then(
        () => report({ report: "over", ref }),
        (e) => report({ report: "over", ref, error: errorOf(e) }),
      );
    } catch (e) {
      report({ report: "over", ref, error: errorOf(e) });
    }
  },
  unsubscribe: ({ ref }) => subscriptions.get(ref)?.close(),
  publish({ ref, topic, data, binary, event, key }) {
    let media;
    if (binary) {
      const [, type, base64] = /^data:(.*);base64,(.*)$/.exec(data);
      media = type;
      data = Buffer.from(base64, "base64");
    }
    void answer(ref, client.publish(topic, data, { event, key, media }).then((id) => ({ id })));
  },
  end: ({ ref, topic }) => void answer(ref, client.end(topic).then(() => ({}))),
  history: ({ ref, topic, after, limit }) =>
    void answer(ref, client.history(topic, { after, limit }).then((page) => ({ page: { ...page, events: page.events.map(wire) } }))),
  presence: ({ ref, topic }) =>
    void answer(
      ref,
      (async () => {
        for await (const members of client.presence(topic)) return { members };
      })(),
    ),
  status: ({ ref }) => report({ report: "answer", ref, status: statusOf(client.status) }),
  transports: ({ transports }) => client.use(transports),
  check: () => client.check(),
  close: () => client.close(),
};

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const command = JSON.parse(line);
    const run = commands[command.do];
    if (run) run(command);
    else report({ report: "answer", ref: command.ref, error: { text: "unsupported" } });
  })
  .on("close", () => process.exit());
