// The WebSocket of undici publishes to a topic and hears of it, over HTTP/2.
import assert from "node:assert/strict";
import { Agent, WebSocket } from "undici";

const [url] = process.argv.slice(2);
const limit = setTimeout(() => { throw new Error("nothing comes"); }, 150000);
const dispatcher = new Agent({ allowH2: true });
const next = (socket, event) => new Promise((done, fail) => {
  socket.addEventListener(event, done, { once: true });
  socket.addEventListener("error", ({ error, message }) => fail(error ?? new Error(message)), { once: true });
});

const socket = new WebSocket(url, { dispatcher });
await next(socket, "open");
for (const text of ["grüße 🦫", "again and ".repeat(1000)]) {
  const message = next(socket, "message");
  socket.send(text);
  assert.equal((await message).data, text);
}
socket.close();
await next(socket, "close");
clearTimeout(limit);
await dispatcher.destroy();
console.log("done");
