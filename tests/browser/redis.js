// A Redis of a test's own.

import { once } from "node:events";
import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import { answers, free } from "./ports.js";
import { find, start } from "./programs.js";

/** In Debian's `redis-tools` the server stands under the last name, which it has to be asked not to go by. */
const PROGRAMS = ["redis-server", "valkey-server", "redis-check-rdb"];

export class Redis {
  #folder;
  #process;
  url;

  static async start() {
    const redis = new Redis();
    redis.#folder = await mkdtemp(path.join(tmpdir(), "witter-redis-"));
    await symlink(find(...PROGRAMS), path.join(redis.#folder, PROGRAMS[0]));
    // It takes no free port by itself, and one that is free now may be taken when it comes to it.
    while (!(await redis.#listen(await free())));
    return redis;
  }

  async #listen(address) {
    const [host, port] = address.split(":");
    const options = ["--port", port, "--bind", host, "--dir", this.#folder, "--save", "", "--appendonly", "yes"];
    this.#process = start(path.join(this.#folder, PROGRAMS[0]), options, { stdio: "ignore" });
    this.url = `redis://${address}`;
    while (!(await answers(address))) {
      if (this.#process.exitCode !== null) return false;
      await pause(10);
    }
    return this.#process.exitCode === null;
  }

  /** Ends it, and what it has stored. */
  async stop() {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const ended = once(this.#process, "exit");
      this.#process.kill("SIGKILL");
      await ended;
    }
    await rm(this.#folder, { recursive: true });
  }
}
