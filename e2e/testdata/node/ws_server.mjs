// Echo servers of ws: with and without compression, and on streams of the
// HTTP/2 server of Node (RFC 8441).
import { createServer } from "node:http2";
import WebSocket, { WebSocketServer } from "ws";

const converse = (socket) => {
  socket.on("message", (data, isBinary) => {
    const [word, code, ...reason] = isBinary ? [] : data.toString().split(" ");
    if (word === "close") socket.close(Number(code), reason.join(" "));
    else if (word === "ping") {
      socket.once("pong", (payload) => socket.send(payload.toString() === "anyone" ? "pong" : "another's pong"));
      socket.ping("anyone");
    } else if (word === "fragments") {
      socket.send("frag", { fin: false });
      socket.send("", { fin: false });
      socket.send("ments", { fin: true });
    } else socket.send(data, { binary: isBinary });
  });
  socket.on("error", (error) => console.error(error));
  socket.on("close", (code, reason) => console.log("closed", code, reason.toString()));
};

for (const [form, perMessageDeflate] of Object.entries({ plain: false, deflate: { threshold: 0 } })) {
  const handleProtocols = (offered) => offered.has("echo") && "echo";
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate, handleProtocols });
  server.on("connection", converse);
  server.on("listening", () => console.log("listens", form, server.address().port));
}

const server = createServer({ settings: { enableConnectProtocol: true } });
server.on("stream", (stream, headers) => {
  if (headers[":method"] !== "CONNECT" || headers[":protocol"] !== "websocket") {
    stream.respond({ ":status": 501 }, { endStream: true });
    return;
  }
  const offered = (headers["sec-websocket-protocol"] ?? "").split(/, */);
  stream.respond({ ":status": 200, ...(offered.includes("echo") && { "sec-websocket-protocol": "echo" }) });
  const socket = new WebSocket(null, undefined, { autoPong: true, closeTimeout: 30000 });
  socket.setSocket(stream, Buffer.alloc(0), { maxPayload: 2 << 20, skipUTF8Validation: false });
  converse(socket);
});
server.listen(0, "127.0.0.1", () => console.log("listens http2", server.address().port));
