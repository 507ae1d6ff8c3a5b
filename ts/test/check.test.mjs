// The check in node; in browsers it is e2e's.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Duplex } from "../dist/client.js";
import { serve } from "./server.mjs";

test("check", async (t) => {
  const server = await serve(t);
  const seen = [];
  const report = await Duplex.check(server.url, { timeout: 60_000, onresult: ({ transport }) => seen.push(transport) });
  const outcome = Object.fromEntries(report.results.map(({ transport, works, cause }) => [transport, works || cause]));
  assert.deepEqual(outcome, { websocket: true, webtransport: "not-offered", sse: true, stream: true, longpoll: true, poll: true });
  assert.deepEqual(seen.toSorted(), Object.keys(outcome).toSorted());
  assert.equal(report.best, "websocket");
});
