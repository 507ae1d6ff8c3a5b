// Makes dist/client.d.ts: the declarations of the modules that index.ts exports, in one file.
// `node types.mjs --check` only compares.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = import.meta.dirname;
const out = mkdtempSync(join(tmpdir(), "duplex-types-"));
try {
  execFileSync(join(root, "node_modules/.bin/tsc"), ["-p", root, "--noEmit", "false", "--emitDeclarationOnly", "--outDir", out], { stdio: "inherit" });
  const modules = [...readFileSync(join(root, "src/index.ts"), "utf8").matchAll(/from "\.\/(.+)\.ts"/g)].map((m) => m[1]);
  const types = modules.map((name) => readFileSync(join(out, `${name}.d.ts`), "utf8").replace(/^(import|export) .*from ".*";\n/gm, "")).join("");
  const path = join(root, "dist/client.d.ts");
  if (!process.argv.includes("--check")) writeFileSync(path, types);
  else if (readFileSync(path, "utf8") !== types) throw new Error("dist/client.d.ts is not up to date: npm run build");
} finally {
  rmSync(out, { recursive: true });
}
