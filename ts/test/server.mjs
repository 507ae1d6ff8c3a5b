// What the tests share: the built server, and a proxy that spoils what passes.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sleep, until } from "./wait.mjs";

const root = join(import.meta.dirname, "../..");

/** The server, built once for each process, unless DUPLEX names one. */
const binary = (() => {
  if (process.env.DUPLEX) return process.env.DUPLEX;
  const path = join(mkdtempSync(join(tmpdir(), "duplex-test-")), "duplex");
  execFileSync("go", ["build", "-o", path, "./cmd/duplex"], { cwd: root, stdio: "inherit" });
  return path;
})();

/**
 * A port for a server that ends and begins again there: below those that the kernel gives away by
 * itself, and the test's until its end, as internal/testnet has it for tests in Go.
 */
async function claimPort(t) {
  const [low] = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8").split(/\s/).map(Number);
  const from = 10_081; // browsers and fetch refuse some below it
  for (;;) {
    const port = from + Math.floor(Math.random() * ((low > from + 1000 ? low : 32_768) - from));
    const claim = net.createServer();
    const listener = net.createServer();
    try {
      claim.listen(`\0duplex-port-${port}`);
      await once(claim, "listening");
      listener.listen(port, "0.0.0.0"); // who knows nothing of claims may be there
      await once(listener, "listening");
      listener.close();
      claim.unref();
      t.after(() => claim.close());
      return port;
    } catch (error) {
      claim.close();
      if (error.code !== "EADDRINUSE") throw error;
    }
  }
}

/** `duplex serve`, until the test ends. */
export async function serve(t, ...args) {
  const port = await claimPort(t);
  const url = `http://127.0.0.1:${port}`;
  let child;
  const server = {
    url,
    port,
    async start() {
      child = spawn(binary, ["serve", "--listen", `127.0.0.1:${port}`, ...(args.includes("--data") ? [] : ["--memory"]), ...args], { stdio: "ignore" });
      for (;;) {
        const ok = await fetch(`${url}/healthz`).then((r) => r.ok, () => false);
        if (ok) return;
        if (child.exitCode !== null) throw new Error(`duplex serve has ended: ${child.exitCode}`);
        await sleep(20);
      }
    },
    /** SIGTERM drains, SIGKILL does not. */
    async stop(signal = "SIGTERM") {
      if (child.exitCode !== null || child.signalCode) return;
      child.kill(signal);
      await once(child, "exit");
    },
  };
  t.after(() => server.stop("SIGKILL"));
  await server.start();
  return server;
}

export { sleep, until };

/**
 * A proxy before a server. `spoil` may be changed at any time:
 *   request(req, res): true if it has answered;  upgrade(req, socket): true if it has;
 *   body(req, chunk): what to pass on of an answer, null to keep it to its end, "hold" for nothing ever.
 */
export async function proxy(t, server, spoil = {}) {
  const sockets = new Set();
  const front = http.createServer((req, res) => {
    if (front.spoil.request?.(req, res)) return;
    const on = http.request({ host: "127.0.0.1", port: server.port, method: req.method, path: req.url, headers: req.headers, agent: false }, (answer) => {
      res.writeHead(answer.statusCode, answer.headers);
      res.flushHeaders();
      const kept = [];
      answer.on("data", (chunk) => {
        const part = front.spoil.body ? front.spoil.body(req, chunk) : chunk;
        if (part === null) kept.push(chunk);
        else if (part !== "hold") res.write(part);
      });
      answer.on("end", () => res.end(Buffer.concat(kept)));
      answer.on("error", () => res.destroy());
    });
    on.on("error", () => res.destroy());
    res.on("close", () => on.destroy());
    req.on("error", () => on.destroy());
    req.pipe(on);
  });
  front.spoil = spoil;
  front.on("upgrade", (req, socket, head) => {
    if (front.spoil.upgrade?.(req, socket)) return;
    const on = net.connect(server.port, "127.0.0.1", () => {
      on.write(`${req.method} ${req.url} HTTP/1.1\r\n${req.rawHeaders.reduce((s, v, i) => s + v + (i % 2 ? "\r\n" : ": "), "")}\r\n`);
      on.write(head);
      socket.on("data", (chunk) => front.spoil.silent || on.write(chunk));
      on.on("data", (chunk) => front.spoil.silent || socket.write(chunk));
    });
    for (const [a, b] of [[on, socket], [socket, on]]) a.on("error", () => b.destroy()).on("close", () => b.destroy());
  });
  front.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => {}); // it is cut
    socket.on("close", () => sockets.delete(socket));
  });
  /** Cuts every connection. */
  front.cut = () => sockets.forEach((s) => s.destroy());
  front.listen(0, "127.0.0.1");
  await once(front, "listening");
  front.url = `http://127.0.0.1:${front.address().port}`;
  t.after(() => (front.cut(), front.close()));
  return front;
}

/** Takes the events of a subscription apart. */
export function collect() {
  const events = [];
  const take = (event) => events.push(event);
  take.events = events;
  take.ids = () => events.filter((e) => e.event[0] !== "$").map((e) => e.id);
  return take;
}
