// The WebSocket of undici talks to an echo server.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { Agent, WebSocket } from "undici";

const [url, form, version] = process.argv.slice(2);
const limit = setTimeout(() => { throw new Error("nothing comes"); }, 150000);
// Over HTTP/2 a connection is offered by ALPN.
const dispatcher = new Agent({ allowH2: version === "HTTP/2.0", connect: { rejectUnauthorized: false } });

const next = (socket, event) => new Promise((done, fail) => {
  socket.addEventListener(event, done, { once: true });
  socket.addEventListener("error", ({ error, message }) => fail(error ?? new Error(message)), { once: true });
});
const connect = async () => {
  const socket = new WebSocket(url, { protocols: ["unknown", "echo"], dispatcher });
  socket.binaryType = "arraybuffer";
  await next(socket, "open");
  assert.equal(socket.protocol, "echo");
  assert.match(socket.extensions, form === "plain" ? /^$/ : /^permessage-deflate/);
  return socket;
};
const closed = async (socket) => {
  const { code, reason, wasClean } = await next(socket, "close");
  return [code, reason, wasClean];
};

let socket = await connect();
const again = "again and ".repeat(1000);
for (const message of ["grüße 🦫", "", Uint8Array.of(0, 255, 1), randomBytes(1 << 20), "ü".repeat(1 << 19), again, again]) {
  const answer = next(socket, "message");
  socket.send(message);
  const { data } = await answer;
  if (typeof message === "string") assert.ok(data === message, String(data).slice(0, 100));
  else assert.ok(data instanceof ArrayBuffer && Buffer.from(data).equals(message));
}
for (const [asked, answer] of Object.entries({ fragments: "fragments", ping: "pong" })) {
  const message = next(socket, "message");
  socket.send(asked);
  assert.equal((await message).data, answer);
}
socket.close(4001, "enough €");
assert.deepEqual(await closed(socket), [4001, "enough €", true]);

socket = await connect();
socket.send("close 4002 bye €");
assert.deepEqual(await closed(socket), [4002, "bye €", true]);

socket = await connect();
socket.close();
assert.deepEqual(await closed(socket), [1005, "", true]);
clearTimeout(limit);
await dispatcher.destroy();
console.log("done");
