// @ts-check
import { Browser } from "./browser/browser.js";
import { Clock } from "./clock.js";
import { Random } from "./random.js";
import { Server } from "./server.js";

/** @typedef {{ at: number, page: import("./page.js").Page, route: string, ids: string[] }} Sent */

/** A server, pages that read and write there, and a network that parts them. All that happens follows from the seed. */
export class World {
  /** @type {Set<import("./page.js").Page>} */
  pages = new Set();
  /** @type {Sent[]} What pages sent, in its order. */
  requests = [];
  /** @type {string[]} What went wrong. */
  violations = [];
  /** @type {string[]} What was done to it. */
  told = [];

  /** @param {number} seed */
  constructor(seed) {
    this.random = new Random(seed);
    this.clock = new Clock();
    this.server = new Server(this.clock, this.random.fork());
    this.began = this.clock.now;
  }

  browser(connections = 6) {
    return new Browser(this, connections);
  }

  /**
   * @param {number} ms
   * @param {() => boolean} [done]
   */
  run(ms, done) {
    return this.clock.run(ms, done);
  }

  /** Something that may not be. @param {string} what */
  violate = (what) => {
    this.violations.push(`${this.#time()} ${what}`);
  };

  /** Something to tell whoever looks for why. @param {string} what */
  note = (what) => {
    this.told.push(`${this.#time()} ${what}`);
  };

  #time() {
    return `${((this.clock.now - this.began) / 1000).toFixed(3)} s:`;
  }

  /**
   * @param {import("./page.js").Page} page
   * @param {import("./server.js").Request} request
   */
  sent(page, { route, query, body }) {
    /** @type {string[]} */
    let ids = [];
    if (route === "publish") ids = [JSON.parse(body ?? "")].flat().map(({ id }) => id);
    if (route === "jsonp-publish") ids = query.getAll("id");
    this.#ask(page, route, ids);
  }

  /**
   * @param {import("./page.js").Page} page
   * @param {string} text
   */
  sentText(page, text) {
    const { publish } = JSON.parse(text);
    if (!publish) return;
    const ids = (publish.drafts ?? [publish]).map((/** @type {{ id: string }} */ { id }) => id);
    this.#ask(page, "websocket-publish", ids);
  }

  /**
   * @param {import("./page.js").Page} page
   * @param {string} route
   * @param {string[]} ids
   */
  #ask(page, route, ids) {
    this.requests.push({ at: this.clock.now, page, route, ids });
    if (process.env.WITTER_LOG) this.note(`${page.name} asks ${route} ${ids.map((id) => id.slice(0, 6)).join(" ")}`);
  }
}

/**
 * Runs something in a world of its own; promises that are rejected unheard count as what went wrong in it.
 *
 * @param {number} seed
 * @param {(world: World) => Promise<void>} run
 */
export async function inWorld(seed, run) {
  const world = new World(seed);
  const unheard = (/** @type {any} */ error) => world.violate(`unhandled rejection: ${error?.stack ?? error}`);
  process.on("unhandledRejection", unheard);
  try {
    await run(world);
  } finally {
    process.off("unhandledRejection", unheard);
  }
  if (world.violations.length) {
    const log = process.env.WITTER_LOG ? `\n\nwhat was done:\n${world.told.join("\n")}` : "";
    throw new Error(`${world.violations.slice(0, 8).join("\n")}${log}`);
  }
}
