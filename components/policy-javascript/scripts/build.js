// Makes a component of src/policy.js, at the path that is the first argument.

import { mkdir, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

import { componentize } from "@bytecodealliance/componentize-js";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const output = process.argv[2] ?? here("../../../dist/policy-javascript.wasm");

const { component } = await componentize({
  sourcePath: here("../src/policy.js"),
  witPath: here("../../../wit"),
  worldName: "policy-wrapper",
  // A policy is handed all it needs. With these left out it imports what the world names and nothing else.
  disableFeatures: ["clocks", "fetch-event", "http", "random", "stdio"],
});

// By renaming: who reads meanwhile finds the old file or the new one.
await mkdir(dirname(output), { recursive: true });
await writeFile(`${output}.unfinished`, component);
await rename(`${output}.unfinished`, output);
