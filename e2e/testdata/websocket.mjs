// Node's own WebSocket.
const [topic] = process.argv.slice(2);
const limit = setTimeout(() => { throw new Error("nothing comes"); }, 150000);

const opened = (socket) => new Promise((done, fail) => { socket.onopen = done; socket.onerror = () => fail(new Error("not opened")); });
const next = (socket) => new Promise((done) => (socket.onmessage = ({ data }) => done(data)));
const closed = (socket) => new Promise((done) => (socket.onclose = ({ code, reason, wasClean }) => done({ code, reason, wasClean })));
const expect = (what, got, want) => {
  console.log(what, got);
  if (JSON.stringify(got) !== JSON.stringify(want)) throw new Error(`${what}: ${JSON.stringify(got)}, not ${JSON.stringify(want)}`);
};

const raw = new WebSocket(topic.replace("http:", "ws:"));
await opened(raw);
raw.send("hello");
expect("text", await next(raw), "hello");
raw.binaryType = "arraybuffer";
raw.send(Uint8Array.of(0, 255, 1));
expect("binary", [...new Uint8Array(await next(raw))], [0, 255, 1]);

const many = new WebSocket(new URL("/topics", topic.replace("http:", "ws:")), ["duplex.v1"]);
const ping = next(many);
await opened(many);
expect("subprotocol", many.protocol, "duplex.v1");
expect("first", JSON.parse(await ping).event, "$ping");
const answer = next(many);
many.send(JSON.stringify({ op: "publish", topic: "node/other", data: { n: 1 }, ref: 7 }));
expect("answer", JSON.parse(await answer).ref, 7);
const left = closed(many);
many.close(1000, "bye");
expect("closed by us", (await left).code, 1000);

const end = closed(raw);
await fetch(topic, { method: "DELETE" });
expect("closed by the end", await end, { code: 1000, reason: "end", wasClean: true });
clearTimeout(limit);
console.log("done");
