// A module of src alone, bundled for a test.
import { execFileSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");

/** Imports src/NAME.ts. */
export function bundle(name) {
  const file = join(mkdtempSync(join(tmpdir(), "duplex-bundle-")), `${name}.mjs`);
  execFileSync("go", ["tool", "-modfile=../tools.mod", "esbuild", `src/${name}.ts`, "--bundle", "--format=esm", "--log-level=warning", `--outfile=${file}`], { cwd: root, stdio: "inherit" });
  return import(file);
}
