// The package as others get it: packed, installed, compiled and run.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import vm from "node:vm";
import { gzipSync } from "node:zlib";
import { parse } from "acorn";
import { build } from "esbuild";
import { OldBrowser } from "./old-browser.js";

const ROOT = path.join(import.meta.dirname, "..");

/** What a page may have to load, in bytes, gzipped: more, and whoever counts them takes something else. */
const BUDGETS = { "witter.js": 8192, "messaging.js": 3072 };

let folder;
let project;
let installed;

/** Runs a program in the project, as if no npm ran these tests; tells what it printed. */
async function run(program, ...args) {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name)));
  const running = promisify(execFile)(program, args, { cwd: project, env });
  const { stdout } = await running.catch(({ message, stdout }) => assert.fail(`${message}\n${stdout}`));
  return stdout.trim();
}

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "witter-package-"));
  project = path.join(folder, "project");
  installed = path.join(project, "node_modules/witter");
  await cp(path.join(import.meta.dirname, "package"), project, { recursive: true });
  await writeFile(path.join(project, "package.json"), '{ "private": true, "type": "module" }');
  const cache = ["--cache", path.join(folder, "cache")];
  // Nothing is built here: what is tested is what was built for all tests.
  const into = ["--pack-destination", folder];
  const tarball = await run("npm", "pack", ROOT, "--ignore-scripts", "--silent", ...into, ...cache);
  await run("npm", "install", path.join(folder, tarball), "--offline", "--no-audit", "--no-fund", ...cache);
});

after(() => rm(folder, { recursive: true }));

const read = (file) => readFile(path.join(installed, file), "utf8");

test("the package holds what its manifest says, and nothing of the inside", async () => {
  const files = await readdir(installed, { recursive: true });
  const scripts = files.filter((file) => path.extname(file) === ".js");
  const all = ["dist/messaging.es5.js", "dist/messaging.js", "dist/witter.es5.js", "dist/witter.js"];
  assert.deepEqual(scripts.sort(), all);
  const others = files.filter((file) => path.extname(file) && !/\.(js|d\.ts)$/.test(file));
  assert.deepEqual(others.sort(), ["README.md", "package.json"]);
  const { dependencies, exports } = JSON.parse(await read("package.json"));
  assert.equal(dependencies, undefined);
  for (const file of Object.values(exports).flatMap((target) => Object.values(Object(target)))) {
    if (file.startsWith("./")) await read(file);
  }
});

for (const { module, moduleResolution } of [
  { module: "esnext", moduleResolution: "bundler" },
  { module: "nodenext", moduleResolution: "nodenext" },
]) {
  test(`a strict TypeScript project that resolves by ${moduleResolution} uses all of it, and nothing else`, async () => {
    const tsc = fileURLToPath(import.meta.resolve("typescript/bin/tsc"));
    await run(process.execPath, tsc, "--module", module, "--moduleResolution", moduleResolution, "--project", project);
  });
}

test("Node imports it, and ends where nothing is connected", async () => {
  const script = `import { connect } from "witter"; import { people } from "witter/messaging";
    console.log(typeof connect, typeof people);`;
  assert.equal(await run(process.execPath, "--input-type=module", "--eval", script), "function function");
});

for (const { contents, kept } of [
  { contents: 'import { connect } from "witter"; export { connect };', kept: true },
  { contents: 'import { connect } from "witter";', kept: false },
  { contents: 'import "witter/witter.es5.js";', kept: true },
]) {
  test(`a bundler ${kept ? "keeps" : "leaves out"} what is taken by ${contents}`, async () => {
    const stdin = { contents, resolveDir: project };
    const { outputFiles } = await build({ stdin, bundle: true, format: "esm", logLevel: "error", write: false });
    assert.equal(outputFiles[0].text.includes("long-polling"), kept);
  });
}

test("the module does without the name `globalThis`, which the first browsers with modules do not have", async () => {
  // As a script: a module would need a context with an experimental flag.
  const exported = /export\s*\{\s*([\w$]+) as connect\s*\};?\s*$/;
  const text = await read("dist/witter.js");
  assert.match(text, exported);
  const context = vm.createContext({ URL, setTimeout, clearTimeout });
  vm.runInContext("self = this; delete this.globalThis;", context);
  assert.equal(vm.runInContext("typeof globalThis", context), "undefined");
  vm.runInContext(text.replace(exported, "self.connect = $1;"), context);
  const connection = vm.runInContext('connect("https://chat.example/witter")', context);
  assert.equal(connection.state.kind, "connecting");
  connection.close();
});

for (const [file, budget] of Object.entries(BUDGETS)) {
  test(`${file} needs no later browser than those that have modules`, async () => {
    parse(await read(`dist/${file}`), { ecmaVersion: 2017, sourceType: "module" });
  });

  test(`${file} fits into what a page may have to load for it`, async () => {
    const { length } = gzipSync(await read(`dist/${file}`), { level: 9 });
    assert.ok(length <= budget, `${length} of ${budget} bytes`);
  });

  test(`the classic script of ${file} is ECMAScript 5`, async () => {
    parse(await read(`dist/${file.replace(".js", ".es5.js")}`), { ecmaVersion: 5, sourceType: "script" });
  });
}

test("the classic scripts have one name between them, whichever comes first", async () => {
  const scripts = [await read("dist/witter.es5.js"), await read("dist/messaging.es5.js")];
  for (const order of [scripts, [...scripts].reverse()]) {
    const browser = new OldBrowser("http://chat.example/page", () => undefined);
    for (const script of order) browser.run(script);
    const members = ["connect", "conversation", "marks", "people", "typing"];
    assert.deepEqual(Object.keys(browser.window.witter).sort(), members);
    const { conversation } = browser.window.witter;
    const one = conversation("lobby");
    const first = { channel: "lobby", offset: 1, id: "a", sender: "ann", name: "Ann", sent_at: 0, body: "helo" };
    one.take([{ ...first, offset: 2, refers: { kind: "edit", offset: 1 }, body: "hello" }, first]);
    assert.equal(one.at(1).body, "hello");
  }
});

const loads = {
  "minified, the classic script": async (browser) => {
    browser.run(await read("dist/witter.es5.js"));
    return browser.window.witter.connect;
  },
  "minified, the module, which takes fetch,": async ({ window }) => {
    window.fetch = (url, { method, body }) =>
      new Promise((resolve) => {
        const request = new window.XMLHttpRequest();
        request.onreadystatechange = () => resolve({ text: () => Promise.resolve(request.responseText) });
        request.open(method, url);
        request.send(body);
      });
    const { connect } = await import(pathToFileURL(path.join(installed, "dist/witter.js")));
    return (url, options) => connect(url, { environment: window, ...options });
  },
};
for (const [what, load] of Object.entries(loads)) {
  test(`${what} hears and says something by what a browser had in 2011`, async () => {
    const message = { channel: "lobby", offset: 1, id: "a", sender: "guest~1", name: "Ann", sent_at: 0, body: "hello" };
    const asked = new Set();
    const browser = new OldBrowser("http://chat.example/page", (method, address, body) => {
      const [url, query] = address.split("?");
      asked.add(`${method} ${url}`);
      if (method === "POST") return JSON.stringify([{ channel: "lobby", offset: 2, id: JSON.parse(body)[0].id }]);
      // The first question is answered at once, the next one is held.
      return query.includes("&after=") ? undefined : JSON.stringify({ envelopes: [message], gaps: [], cursor: "c" });
    });
    const connect = await load(browser);
    const told = [];
    const connection = connect("/witter", { channels: ["lobby"], transports: ["long-polling"] });
    connection.on("message", ({ body }) => told.push(`heard ${body}`));
    connection.publish("lobby", "hi").then(({ offset }) => told.push(`stored at ${offset}`));
    browser.elapse(5000);
    // Where there are promises, they call back at a time of their own.
    await setImmediate();
    assert.deepEqual(told.sort(), ["heard hello", "stored at 2"]);
    const routes = ["GET http://chat.example/witter/long-polling", "POST http://chat.example/witter/publish"];
    assert.deepEqual([...asked].sort(), routes);

    const { connect: unminified } = await import("../build/index.js");
    const members = (of) => Object.keys(of).sort();
    assert.deepEqual(members(connection), members(unminified("/witter", { environment: browser.window })));
    connection.close();
  });
}
