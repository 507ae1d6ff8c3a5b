// A client of ws talks to an echo server.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import WebSocket from "ws";

const [url, form] = process.argv.slice(2);
const limit = setTimeout(() => { throw new Error("nothing comes"); }, 150000);

const connect = async () => {
  const socket = new WebSocket(url, ["unknown", "echo"], { perMessageDeflate: form !== "plain" && { threshold: 0 } });
  await once(socket, "open");
  assert.equal(socket.protocol, "echo");
  assert.equal(socket.extensions, form === "plain" ? "" : "permessage-deflate");
  return socket;
};
const receive = async (socket, want) => {
  const [data, isBinary] = await once(socket, "message");
  assert.equal(isBinary, typeof want !== "string");
  assert.ok(data.equals(Buffer.from(want)), data.subarray(0, 100).toString());
};
const closed = async (socket) => {
  const [code, reason] = await once(socket, "close");
  return [code, reason.toString()];
};

let socket = await connect();
const again = "again and ".repeat(1000);
for (const message of ["grüße 🦫", "", Buffer.from([0, 255, 1]), randomBytes(1 << 20), "ü".repeat(1 << 19), again, again]) {
  socket.send(message);
  await receive(socket, message);
}
socket.send("fräg", { fin: false });
socket.ping("between");
socket.send("", { fin: false });
socket.send("mänts", { fin: true });
const [[pong]] = await Promise.all([once(socket, "pong"), receive(socket, "frägmänts")]);
assert.equal(pong.toString(), "between");
socket.send("fragments");
await receive(socket, "fragments");
socket.send("ping");
await Promise.all([once(socket, "ping"), receive(socket, "pong")]);
socket.close(4001, "enough €");
assert.deepEqual(await closed(socket), [4001, "enough €"]);

socket = await connect();
socket.send("close 4002 bye €");
assert.deepEqual(await closed(socket), [4002, "bye €"]);

socket = await connect();
socket.close();
assert.deepEqual(await closed(socket), [1005, ""]);
clearTimeout(limit);
console.log("done");
