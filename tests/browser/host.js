// The built host, on a port of its own and with a store of its own; or many of them, one for each request in turn,
// where `WITTER_NODES` says how many.

import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";

import { Balancer } from "./balancer.js";
import { LONG_ADDRESSES, Nginx, PASSES_UPGRADES } from "./nginx.js";
import { start } from "./programs.js";
import { Redis } from "./redis.js";

export const ROOT = path.resolve(import.meta.dirname, "../..");
const PROGRAM = path.join(ROOT, "target/release/witter");

/** How many hosts serve an application. */
const NODES = Number(process.env.WITTER_NODES ?? 1);

/** Whether a client's connection is the host's own: else what ends a connection is nginx's word. */
export const DIRECT = NODES === 1;

/** What nginx keeps to itself otherwise, so that another one behind it holds streams back. */
const PASSES_HINTS = "proxy_pass_header X-Accel-Buffering;";

/** Tests are faster than people. */
const UNLIMITED = { publish_rate: "", publish_rate_per_address: "", command_rate: "", command_rate_per_address: "" };

export class Host {
  #folder;
  #processes = [];
  /** Where many hosts have what they share, and who stands before them. */
  #redis;
  #front;
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
    if (!DIRECT) host.#redis = await Redis.start();
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
    if (DIRECT) {
      this.address = await this.#serve(this.address, `sqlite:${path.join(this.#folder, "mailbox.db")}`);
      return;
    }
    const nodes = [];
    while (nodes.length < NODES) nodes.push(await this.#serve("127.0.0.1:0", this.#redis.url));
    this.#front = this.trusted
      ? await Balancer.start(this.address, nodes)
      : await Nginx.before(nodes, this.address, [PASSES_UPGRADES, LONG_ADDRESSES, PASSES_HINTS].join("\n"));
    this.address = this.#front.address;
  }

  /** One more host, and where it listens. */
  async #serve(listen, store) {
    const host = start(PROGRAM, ["up", "--listen", listen, "--store", store, ...this.#options], {
      cwd: ROOT,
      env: { ...process.env, ...this.#environment },
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#processes.push(host);
    const failed = once(host, "exit").then(([code, signal]) => {
      throw new Error(`the host ended before it listened: ${code ?? signal}`);
    });
    const [line] = await Promise.race([once(createInterface(host.stdout), "line"), failed]);
    const [, scheme, address] = /^listening on (https?):\/\/(\S+)$/.exec(line) ?? [];
    if (!address) throw new Error(`not the line that says where the host listens: ${line}`);
    this.#scheme = scheme;
    return address;
  }

  /** Ends it without a chance to say so. */
  async kill() {
    await this.#end("SIGKILL");
  }

  /** Ends it, and what it has stored. */
  async stop() {
    await this.#end("SIGTERM");
    await this.#redis?.stop();
    await rm(this.#folder, { recursive: true });
  }

  async #end(signal) {
    // First, or it would say to those who come back meanwhile that there is nobody.
    await this.#front?.stop();
    this.#front = undefined;
    const hosts = this.#processes.splice(0).map(async (host) => {
      const ended = once(host, "exit");
      if (host.exitCode === null && host.signalCode === null) {
        host.kill(signal);
        await ended;
      }
    });
    await Promise.all(hosts);
  }
}
