// The built host, on a port of its own and with a store of its own.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";

export const ROOT = path.resolve(import.meta.dirname, "../..");
const PROGRAM = path.join(ROOT, "target/release/witter");

/** Tests are faster than people. */
const UNLIMITED = { publish_rate: "", publish_rate_per_address: "", command_rate: "", command_rate_per_address: "" };

export class Host {
  #folder;
  #process;
  #environment;
  #options;
  #scheme = "http";
  /** Where it listens, `127.0.0.1:PORT`: the same after every start. */
  address = "127.0.0.1:0";

  /** What its clients have to trust, in PEM; undefined where it speaks without TLS. */
  trusted;

  /** A fresh one, listening. `variables` are those of spin.toml, `options` what `witter up` takes. */
  static async start(variables = {}, { certificate, options = [] } = {}) {
    const host = new Host();
    host.trusted = certificate?.pem;
    host.#options = [...options, ...(certificate?.options ?? [])];
    host.#environment = Object.fromEntries(
      Object.entries({ ...UNLIMITED, ...variables }).map(([name, value]) => [`SPIN_VARIABLE_${name.toUpperCase()}`, value]),
    );
    host.#folder = await mkdtemp(path.join(tmpdir(), "witter-browser-"));
    await host.start();
    return host;
  }

  get url() {
    return `${this.#scheme}://${this.address}`;
  }

  /** Where its WebSockets are. */
  get sockets() {
    return this.url.replace(/^http/, "ws");
  }

  /** Starts it again, on what it has stored. */
  async start() {
    const store = `sqlite:${path.join(this.#folder, "mailbox.db")}`;
    this.#process = spawn(PROGRAM, ["up", "--listen", this.address, "--store", store, ...this.#options], {
      cwd: ROOT,
      env: { ...process.env, ...this.#environment },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const failed = once(this.#process, "exit").then(([code, signal]) => {
      throw new Error(`the host ended before it listened: ${code ?? signal}`);
    });
    const [line] = await Promise.race([once(createInterface(this.#process.stdout), "line"), failed]);
    const [, scheme, address] = /^listening on (https?):\/\/(\S+)$/.exec(line) ?? [];
    if (!address) throw new Error(`not the line that says where the host listens: ${line}`);
    this.#scheme = scheme;
    this.address = address;
  }

  /** Ends it without a chance to say so. */
  async kill() {
    await this.#end("SIGKILL");
  }

  /** Ends it, and what it has stored. */
  async stop() {
    await this.#end("SIGTERM");
    await rm(this.#folder, { recursive: true });
  }

  async #end(signal) {
    const ended = once(this.#process, "exit");
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      this.#process.kill(signal);
      await ended;
    }
  }
}
