// @ts-check
import { Listeners } from "./events.js";

/** What is said between the tabs of an origin. */
export class Channels {
  #world;
  /** @type {Set<{ page: import("../page.js").Page, name: string, listeners: Listeners, arrival: number }>} */
  open = new Set();

  /** @param {import("../world.js").World} world */
  constructor(world) {
    this.#world = world;
  }

  /** @param {import("../page.js").Page} page */
  constructorFor(page) {
    const channels = this;
    return class BroadcastChannel extends Listeners {
      #end;
      onmessage = null;

      /** @param {string} name */
      constructor(name) {
        super();
        this.name = name;
        this.#end = { page, name, listeners: this, arrival: 0 };
        channels.open.add(this.#end);
        page.ends.push(() => this.close());
      }

      /** @param {unknown} data */
      postMessage(data) {
        if (!channels.open.has(this.#end)) throw new DOMException("Channel is closed", "InvalidStateError");
        const text = structuredClone(data);
        const { clock, random } = channels.#world;
        for (const end of channels.open) {
          if (end === this.#end || end.name !== this.name) continue;
          // What was said first is heard first.
          end.arrival = Math.max(end.arrival, clock.now + random.between(0, 2));
          clock.after(end.arrival - clock.now, () => {
            end.page.run(() => channels.open.has(end) && end.listeners.dispatch("message", { data: text }));
          });
        }
      }

      close() {
        channels.open.delete(this.#end);
      }
    };
  }
}

/**
 * @typedef {object} Wish
 * @property {import("../page.js").Page} page
 * @property {string} name
 * @property {() => void} grant
 */

/** Web Locks, exclusive ones: who asked first has it until its promise settles, or its page is gone. */
export class Locks {
  #world;
  /** @type {Map<string, Wish>} */
  held = new Map();
  /** @type {Wish[]} */
  waiting = [];

  /** @param {import("../world.js").World} world */
  constructor(world) {
    this.#world = world;
  }

  /** @param {import("../page.js").Page} page */
  managerFor(page) {
    page.ends.push(() => {
      this.waiting = this.waiting.filter((wish) => wish.page !== page);
      for (const [name, wish] of this.held) if (wish.page === page) this.#release(name);
    });
    return {
      /**
       * @param {string} name
       * @param {any} options
       * @param {any} [callback]
       */
      request: (name, options, callback = options) =>
        new Promise((resolve, reject) => {
          const { ifAvailable, signal } = callback === options ? {} : options;
          if (signal?.aborted) return reject(signal.reason);
          /** @type {Wish} */
          const wish = {
            page,
            name,
            grant: () => {
              signal?.removeEventListener("abort", abort);
              this.held.set(name, wish);
              page.run(() => {
                // What the callback gives, or throws, settles the request, and the lock is free.
                const settled = new Promise((done) => done(callback({ name, mode: "exclusive" })));
                settled.then(resolve, reject).then(() => this.held.get(name) === wish && this.#release(name));
              });
            },
          };
          const abort = () => {
            this.waiting = this.waiting.filter((one) => one !== wish);
            reject(signal.reason);
          };
          if (ifAvailable && (this.held.has(name) || this.waiting.some((one) => one.name === name))) {
            this.#world.clock.after(1, () => page.run(() => resolve(callback(null))));
            return;
          }
          signal?.addEventListener("abort", abort);
          this.waiting.push(wish);
          this.#world.clock.after(1, () => this.#next(name));
        }),
    };
  }

  /** @param {string} name */
  #release(name) {
    this.held.delete(name);
    this.#next(name);
  }

  /** @param {string} name */
  #next(name) {
    if (this.held.has(name)) return;
    const wish = this.waiting.find((one) => one.name === name);
    if (!wish) return;
    this.waiting = this.waiting.filter((one) => one !== wish);
    wish.grant();
  }
}
