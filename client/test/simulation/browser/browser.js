// @ts-check
import { Channels, Locks } from "./tabs.js";

/** Text by names, as `localStorage` keeps it. */
export class MemoryStorage {
  #items = new Map();

  get length() {
    return this.#items.size;
  }
  /** @param {string} key */
  getItem(key) {
    return this.#items.get(String(key)) ?? null;
  }
  /**
   * @param {string} key
   * @param {string} value
   */
  setItem(key, value) {
    this.#items.set(String(key), String(value));
  }
  /** @param {string} key */
  removeItem(key) {
    this.#items.delete(String(key));
  }
  clear() {
    this.#items.clear();
  }
  /** @param {number} index */
  key(index) {
    return [...this.#items.keys()][index] ?? null;
  }
}

/** What the tabs of one browser have in common, all of one origin. */
export class Browser {
  localStorage = new MemoryStorage();
  #connections;
  #busy = 0;
  /** @type {(() => void)[]} */
  #queue = [];

  /**
   * @param {import("../world.js").World} world
   * @param {number} connections How many requests it has under way at once: six to one server over HTTP/1.1.
   */
  constructor(world, connections) {
    this.#connections = connections;
    this.channels = new Channels(world);
    this.locks = new Locks(world);
  }

  /**
   * Begins when there is room. The answer is a function that makes room, or gives up waiting.
   *
   * @param {() => void} begin
   */
  enter(begin) {
    let left = false;
    let entered = false;
    const start = () => {
      entered = true;
      this.#busy++;
      begin();
    };
    if (this.#busy < this.#connections) start();
    else this.#queue.push(start);
    return () => {
      if (left) return;
      left = true;
      if (!entered) {
        this.#queue = this.#queue.filter((one) => one !== start);
        return;
      }
      this.#busy--;
      const next = this.#queue.shift();
      if (next) next();
    };
  }
}
