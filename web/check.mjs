// Are the committed built files those of the sources? Builds into a new folder and compares every byte; of the engine, which
// is packed, the hashes.
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "vite";

const kept = join(import.meta.dirname, "../src/miras/serve/static");
const made = mkdtempSync(join(tmpdir(), "miras-page-"));
const list = (folder) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();

try {
  await build({ root: import.meta.dirname, logLevel: "error", build: { outDir: made, emptyOutDir: true } });
  const [old, fresh] = [list(kept), list(made)];
  const faults = [
    ...fresh.filter((name) => !old.includes(name)).map((name) => `missing: ${name}`),
    ...old.filter((name) => !fresh.includes(name)).map((name) => `stranger: ${name}`),
    ...fresh.filter((name) => old.includes(name) && !readFileSync(join(kept, name)).equals(readFileSync(join(made, name)))).map((name) => `differs: ${name}`),
  ];
  const engine = JSON.parse(readFileSync(join(kept, "../device/engine/engine.json"), "utf8"));
  for (const [name, digest] of Object.entries(engine.files)) {
    const file = readFileSync(join(import.meta.dirname, "node_modules/onnxruntime-web/dist", name));
    if (createHash("sha256").update(file).digest("hex") !== digest) faults.push(`of another version: ${name} (python deploy/engine.py)`);
  }
  if (faults.length > 0) {
    console.error(`the built files are not those of the sources (npm run build):\n${faults.join("\n")}`);
    process.exitCode = 1;
  } else console.log(`${fresh.length} built files are those of the sources`);
} finally {
  rmSync(made, { recursive: true });
}
