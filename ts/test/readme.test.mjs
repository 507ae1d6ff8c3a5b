// The code of README.md runs.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Duplex } from "../dist/client.js";
import { serve } from "./server.mjs";

const AsyncFunction = (async () => {}).constructor;
const blocks = [...readFileSync(new URL("../README.md", import.meta.url), "utf8").matchAll(/^```js\n(.*?)^```/gms)].map((m) => m[1]);

test("README.md", async (t) => {
  assert.ok(blocks.length >= 4);
  const server = await serve(t, "--presence", "room/*");
  for (const block of blocks) {
    const lines = [];
    const console = { log: (...words) => lines.push(words.join(" ")) };
    await new AsyncFunction("Duplex", "console", block.replaceAll("https://example.com", server.url))(Duplex, console);
    t.diagnostic(lines.join("\n"));
  }
});
