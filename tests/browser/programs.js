// Programs: as the system has them, and as long as who started them.

import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import path from "node:path";

/**
 * Where a program is, by the first of its names that there is. Debian keeps some in a folder that not every user's
 * `PATH` names.
 */
export function find(...names) {
  for (const name of names) {
    for (const folder of [...(process.env.PATH ?? "").split(path.delimiter), "/usr/sbin"]) {
      const file = path.join(folder, name);
      try {
        accessSync(file, constants.X_OK);
        return file;
      } catch {
        // It may be in the next.
      }
    }
  }
  throw new Error(`${names[0]} is not installed`);
}

const running = new Set();
process.on("exit", () => running.forEach((program) => program.kill("SIGKILL")));

/** Starts a program, as `spawn` does. It does not outlive its test's process, however that ends. */
export function start(...how) {
  const program = spawn(...how);
  running.add(program);
  program.once("exit", () => running.delete(program));
  return program;
}
