// Makes what the package ships, in dist/: modules, of the sources; classic scripts, of build/, where the compiler leaves
// one ES5 module for each source; and the declarations.

import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { build } from "esbuild";
import { minify } from "terser";

const ROOT = path.join(import.meta.dirname, "..");
const FROM = path.join(ROOT, "build");
const TO = path.join(ROOT, "dist");

/**
 * The library's own names of members: none that its users, the server, a browser or another version of it knows. One that
 * is not in the list is only longer.
 */
const INSIDE =
  /^(add|adopted|around|base|bearer|become|begin|calm|changed|check|down|drop|emit|ensure|exhausted|fail|fits|flush|follow|follows|frames|generation|heard|last|lead|leave|link|lost|moved|people|poll|proven|query|race|ready|refresh|refused|renew|renewed|rest|route|say|script|seen|settle|shared|shut|since|speak|standing|stop|taken|unfollow|via|who|whom|withdraw)$/;

/** Leaves `XMLHttpRequest` out of the module: browsers that have modules have `fetch`. */
const withoutXhr = {
  name: "without-xhr",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /\/xhr\.js$/ }, () => ({ path: "xhr", namespace: "without" }));
    onLoad({ filter: /./, namespace: "without" }, () => ({ contents: "export const byXhr = undefined;" }));
  },
};

/** Bundles by esbuild and minifies by terser, which makes a fifteenth less of it than esbuild does. */
async function bundle(entry, name, format, ecma, further, properties = { regex: INSIDE, builtins: true }) {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    format,
    target: `es${ecma}`,
    logLevel: "warning",
    write: false,
    ...further,
  });
  // What is declared alike is declared together.
  const { code } = await minify(outputFiles[0].text.replace(/\bconst /g, "let "), {
    module: format === "esm",
    ecma,
    compress: {
      passes: 3,
      reduce_funcs: false,
      pure_getters: true,
      hoist_funs: true,
      lhs_constants: false,
      unsafe_arrows: ecma > 5,
    },
    mangle: { properties, reserved: ["$"] },
  });
  // A module's names are its own: in it, what is undefined has a short one.
  const short = format === "esm" ? `let $;${code.replace(/\bvoid 0\b/g, "$")}` : code;
  await writeFile(path.join(TO, name), short);
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
await mkdir(TO);
// Every browser that has modules has ES2017, but for the first few.
await bundle(path.join(ROOT, "src/index.ts"), "witter.js", "esm", 2017, { plugins: [withoutXhr] });
await bundle(path.join(FROM, "classic.js"), "witter.es5.js", "iife", 5, { inject: [path.join(FROM, "promise.js")] });
// What these are made of is told to their users.
await bundle(path.join(ROOT, "src/messaging.ts"), "messaging.js", "esm", 2017, {}, false);
await bundle(path.join(FROM, "messaging-classic.js"), "messaging.es5.js", "iife", 5, {}, false);
await declare("index.d.ts", "witter.d.ts");
await declare("messaging.d.ts");
