// A client of websocket (WebSocket-Node) talks to an echo server.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import websocket from "websocket";

const [url] = process.argv.slice(2);
const limit = setTimeout(() => { throw new Error("nothing comes"); }, 150000);

const connect = async () => {
  const client = new websocket.client({ maxReceivedMessageSize: 2 << 20, maxReceivedFrameSize: 2 << 20, fragmentationThreshold: 10000 });
  client.on("connectFailed", (failed) => { throw failed; });
  client.connect(url, ["unknown", "echo"], new URL(url).origin.replace("ws:", "http:"));
  const [connection] = await once(client, "connect");
  assert.equal(connection.protocol, "echo");
  return connection;
};
const closed = async (connection) => (await once(connection, "close")).slice(0, 2);

let connection = await connect();
// What is longer than the threshold leaves in fragments.
for (const message of ["grüße 🦫", "", Buffer.from([0, 255, 1]), randomBytes(1 << 20), "ü".repeat(1 << 19)]) {
  connection.send(message);
  const [{ type, utf8Data, binaryData }] = await once(connection, "message");
  if (typeof message === "string") assert.ok(type === "utf8" && utf8Data === message, utf8Data?.slice(0, 100));
  else assert.ok(type === "binary" && binaryData.equals(message));
}
connection.ping("anyone");
assert.equal((await once(connection, "pong"))[0].toString(), "anyone");
connection.send("fragments");
assert.equal((await once(connection, "message"))[0].utf8Data, "fragments");
connection.send("ping");
assert.equal((await once(connection, "message"))[0].utf8Data, "pong");
connection.close(4001, "enough €");
assert.deepEqual(await closed(connection), [4001, "enough €"]);

connection = await connect();
connection.send("close 4002 bye €");
assert.deepEqual(await closed(connection), [4002, "bye €"]);

connection = await connect();
connection.close();
assert.equal((await closed(connection))[0], 1000);
clearTimeout(limit);
console.log("done");
