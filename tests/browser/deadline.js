// A test that does not end is named, and takes its file along with every program that it started: node would wait for
// them for ever, and so would whoever waits for node.

import { writeSync } from "node:fs";
import { afterEach, beforeEach } from "node:test";

/** In milliseconds: six times what the longest test takes. */
const PATIENCE = 300_000;

const deadlines = new Map();
beforeEach((test) => {
  deadlines.set(test, setTimeout(() => end(`no end after ${PATIENCE / 1000} s`), PATIENCE));
});
afterEach((test) => {
  clearTimeout(deadlines.get(test));
  deadlines.delete(test);
});

// By it node tells that the file's time is over. Playwright waits for its browsers then, and ends nothing.
process.on("SIGTERM", () => end("terminated"));

function end(why) {
  const names = [...deadlines.keys()].map(({ name }) => name);
  writeSync(process.stderr.fd, `${process.argv[1]}: ${why}: ${names.join(", ") || "between two tests"}\n`);
  process.exit(1);
}
