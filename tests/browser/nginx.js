// A real nginx in front of a host.

import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import { answers, free } from "./ports.js";
import { find, start } from "./programs.js";

/**
 * Upgrades are passed on (nginx's documentation, "WebSocket proxying"), and the name under which the page knows the
 * server, so that the host knows its own pages.
 */
export const PASSES_UPGRADES = `proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;
  proxy_set_header Connection upgrade; proxy_set_header Host $http_host;`;

/** Addresses are as long as the host takes them: a script element publishes by its address. */
export const LONG_ADDRESSES = "large_client_header_buffers 4 72k;";

/** Nobody may ask for anything to be passed on at once. */
export const HOLDS_BACK = "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;";

export class Nginx {
  #process;
  #folder;
  url;

  /** One that hands every request to a host, with more directives for its `server` block. */
  static async start(host, directives) {
    return await Nginx.before([host.address], "127.0.0.1:0", directives);
  }

  /** One that hands each request to the next of many hosts, listening on an address, whose port 0 takes a free one. */
  static async before(hosts, address, directives) {
    const nginx = new Nginx();
    nginx.#folder = await mkdtemp(path.join(tmpdir(), "witter-nginx-"));
    if (address.endsWith(":0")) {
      // It takes no free port by itself, and one that is free now may be taken when it comes to it.
      while (!(await nginx.#listen(await free(), hosts, directives)));
    } else if (!(await nginx.#listen(address, hosts, directives))) {
      throw new Error("the address of nginx was taken meanwhile");
    }
    return nginx;
  }

  /** Where it listens, `127.0.0.1:PORT`. */
  get address() {
    return this.url.slice("http://".length);
  }

  /** Ends what is open, and starts on the same address with other directives, or before another host. */
  async restart(host, directives) {
    await this.#end();
    const listens = await this.#listen(this.address, [host.address], directives);
    if (!listens) throw new Error("the address of nginx was taken meanwhile");
  }

  async #listen(address, hosts, directives) {
    const file = path.join(this.#folder, "nginx.conf");
    await writeFile(file, configuration(address, hosts, directives));
    this.#process = start(find("nginx"), ["-p", this.#folder, "-c", file, "-e", "error.log"], { stdio: "inherit" });
    this.url = `http://${address}`;
    while (!(await answers(address))) {
      if (this.#process.exitCode !== null) {
        const log = await readFile(path.join(this.#folder, "error.log"), "utf8");
        if (/Address already in use/.test(log)) return false;
        throw new Error(`nginx ended: ${log}`);
      }
      await pause(10);
    }
    return true;
  }

  async stop() {
    await this.#end();
    await rm(this.#folder, { recursive: true });
  }

  async #end() {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const ended = once(this.#process, "exit");
      this.#process.kill("SIGKILL");
      await ended;
    }
  }
}

/** What Debian's `nginx.conf` says of HTTP, and where nginx leaves what it writes. */
const configuration = (address, hosts, directives) => `
daemon off;
# One process: no other outlives it when it is killed.
master_process off;
pid nginx.pid;
events {
  worker_connections 768;
}
http {
  sendfile on;
  tcp_nopush on;
  types_hash_max_size 2048;
  default_type application/octet-stream;
  access_log access.log;
  gzip on;
  client_body_temp_path client-body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  upstream hosts {
    ${hosts.map((host) => `server ${host};`).join(" ")}
  }
  server {
    listen ${address};
    ${directives}
    location / {
      proxy_pass http://hosts;
    }
  }
}
`;
