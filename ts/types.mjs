// Makes dist/client.d.ts, the declarations of the modules that index.ts exports, in one file, and
// those of the module beside it.
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
  for (const [file, names] of [["client.d.ts", modules], ["webtransport.d.ts", ["webtransport"]]]) {
    const types = names.map((name) => readFileSync(join(out, `${name}.d.ts`), "utf8").replace(/^(import|export) .*from ".*";\n/gm, "")).join("");
    const path = join(root, "dist", file);
    if (!process.argv.includes("--check")) writeFileSync(path, types);
    else if (readFileSync(path, "utf8") !== types) throw new Error(`dist/${file} is not up to date: npm run build`);
  }
} finally {
  rmSync(out, { recursive: true });
}
