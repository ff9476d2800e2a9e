// What hangs is named, and leaves nothing behind.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { test } from "node:test";

import { start } from "./programs.js";

const HANGS = `
  import { test } from "node:test";
  import { launch } from "./person.js";
  import { start } from "./programs.js";
  test("ends", () => {});
  test("hangs", async () => {
    const browser = await launch();
    start("sleep", ["1000"], { stdio: "inherit" });
    console.error("begun");
    await new Promise(() => {});
  });
`;

test("who is told to end while a test hangs names it, and takes its programs along", async () => {
  const options = ["--import", "./deadline.js", "--input-type=module", "--eval", HANGS];
  const stdio = ["ignore", "ignore", "pipe"];
  const file = start(process.execPath, options, { cwd: import.meta.dirname, stdio });
  const ended = once(file, "exit");
  const said = text(file.stderr);
  await once(createInterface(file.stderr), "line");
  file.kill("SIGTERM");
  assert.deepEqual(await ended, [1, null]);
  // It has no end as long as a program of the file's has it open.
  assert.match(await said, /terminated: hangs\n$/);
});
