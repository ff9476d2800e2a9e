// A reader that is no browser: curl on the stream of server-sent events.

import { createInterface } from "node:readline";

import { start } from "./programs.js";

export class Curl {
  #process;
  #waiting = [];
  #open = false;
  /** What came, as envelopes. */
  envelopes = [];

  /** Reads a channel from now on. It has its place when this returns. */
  static async follow(host, channel) {
    const curl = new Curl();
    const url = `${host.url}/witter/sse?${new URLSearchParams({ channel })}`;
    curl.#process = start("curl", ["--silent", "--show-error", "--fail", "--no-buffer", url], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let event = "message";
    createInterface(curl.#process.stdout).on("line", (line) => {
      if (line === "") event = "message";
      else if (line.startsWith("event: ")) event = line.slice(7);
      else if (line.startsWith("id: ") && event === "cursor") curl.#open = true;
      else if (line.startsWith("data: ") && event === "message") curl.envelopes.push(JSON.parse(line.slice(6)));
      curl.#look();
    });
    curl.#process.on("exit", () => curl.#look());
    await curl.#until(() => curl.#open);
    return curl;
  }

  /** What came, once there are so many. */
  async messages(count) {
    await this.#until(() => this.envelopes.length >= count);
    return this.envelopes;
  }

  stop() {
    this.#process.kill();
  }

  #until(done) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ done, resolve, reject });
      this.#look();
    });
  }

  #look() {
    const ended = this.#process.exitCode !== null;
    this.#waiting = this.#waiting.filter(({ done, resolve, reject }) => {
      if (done()) resolve();
      else if (ended) reject(new Error(`curl ended with ${this.#process.exitCode}`));
      else return true;
      return false;
    });
  }
}
