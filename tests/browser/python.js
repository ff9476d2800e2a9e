// Python, with a package of its own.

import { execFile } from "node:child_process";
import { access, mkdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";

import { ROOT } from "./host.js";

const execute = promisify(execFile);

/** An environment below target/ that has a package: its interpreter. Throws where it cannot be had. */
export async function environment(requirement) {
  const folder = path.join(ROOT, "target/python", requirement);
  const program = path.join(folder, "bin/python");
  // Written last: what an interrupted run left does not count.
  const complete = path.join(folder, "complete");
  if (!(await access(complete).then(() => true, () => false))) {
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    await execute("python3", ["-m", "venv", folder]);
    await execute(program, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement]);
    await writeFile(complete, "");
  }
  return program;
}

/** What a script beside this one prints for what it is given on standard input as JSON. */
export async function run(program, script, input) {
  const running = execute(program, [path.join(import.meta.dirname, script)], { maxBuffer: 16 * 1024 * 1024 });
  running.child.stdin.end(JSON.stringify(input));
  return (await running).stdout;
}
