// Makes of build/, where the compiler leaves one ES5 module for each source, what the package ships in dist/: a module, a
// classic script, and the declarations.

import { copyFile, readFile, rm } from "node:fs/promises";
import path from "node:path";
import { build } from "esbuild";

const ROOT = path.join(import.meta.dirname, "..");
const FROM = path.join(ROOT, "build");
const TO = path.join(ROOT, "dist");

function bundle(entry, name, options) {
  return build({
    entryPoints: [path.join(FROM, entry)],
    outfile: path.join(TO, name),
    bundle: true,
    minify: true,
    logLevel: "warning",
    ...options,
  });
}

/** Copies the declarations of a module, and those that they refer to: not those of the library's inside. */
async function declare(file, name = file, copied = new Set()) {
  if (copied.has(file)) return;
  copied.add(file);
  const from = path.join(FROM, file);
  await copyFile(from, path.join(TO, name));
  for (const [, module] of (await readFile(from, "utf8")).matchAll(/ from "\.\/(.+)\.js"/g)) {
    await declare(`${module}.d.ts`, undefined, copied);
  }
}

await rm(TO, { recursive: true, force: true });
// Every browser that has modules has ES2017, but for the first few.
await bundle("index.js", "witter.js", { format: "esm", target: "es2017" });
await bundle("classic.js", "witter.es5.js", { format: "iife", target: "es5" });
await declare("index.d.ts", "witter.d.ts");
