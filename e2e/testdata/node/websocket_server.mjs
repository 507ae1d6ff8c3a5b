// The server of WebSocket-Node as articles have it, which takes everybody.
import http from "node:http";
import websocket from "websocket";

const server = http.createServer((request, response) => response.writeHead(404).end());
server.listen(0, "127.0.0.1", () => console.log("listens plain", server.address().port));

const wsServer = new websocket.server({ httpServer: server, maxReceivedMessageSize: 2 << 20, maxReceivedFrameSize: 2 << 20 });
wsServer.on("request", (request) => {
  const offered = request.requestedProtocols.includes("echo") ? "echo" : null;
  const connection = request.accept(offered, request.origin);
  connection.on("message", (message) => {
    if (message.type === "binary") return connection.sendBytes(message.binaryData);
    const [word, code, ...reason] = message.utf8Data.split(" ");
    if (word === "close") return connection.close(Number(code), reason.join(" "));
    if (word === "ping") {
      connection.once("pong", (payload) => connection.sendUTF(payload.toString() === "anyone" ? "pong" : "another's pong"));
      return connection.ping("anyone");
    }
    connection.sendUTF(message.utf8Data);
  });
  connection.on("close", (code, reason) => console.log("closed", code, reason));
});
