// One hash over all that the built files are made from: path, a zero byte, content, a zero byte, by path.
// tests/serve/test_page_files.py computes the same without Node.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

const ALONE = ["index.html", "package-lock.json", "package.json", "rate.html", "stamp.mjs", "tsconfig.json", "vite.config.ts"];

/** The stamp of the sources in `root`, one line. */
export function stamp(root) {
  const names = ["src", "public"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1)),
  );
  const hash = createHash("sha256");
  for (const name of [...names, ...ALONE].sort()) hash.update(name).update("\0").update(readFileSync(join(root, name))).update("\0");
  return `${hash.digest("hex")}\n`;
}
