// @ts-check

/** What listeners can be added to; also by `on` and the type. */
export class Listeners {
  /** @type {Map<string, Set<(event: any) => void>>} */
  #listeners = new Map();

  /**
   * @param {string} type
   * @param {(event: any) => void} listener
   */
  addEventListener(type, listener) {
    const all = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, all.add(listener));
  }

  /**
   * @param {string} type
   * @param {(event: any) => void} listener
   */
  removeEventListener(type, listener) {
    this.#listeners.get(type)?.delete(listener);
  }

  /** How many there are. */
  get listening() {
    return [...this.#listeners.values()].reduce((sum, all) => sum + all.size, 0);
  }

  /**
   * @param {string} type
   * @param {object} event
   */
  dispatch(type, event = {}) {
    const told = { type, target: this, ...event };
    /** @type {any} */ (this)[`on${type}`]?.(told);
    for (const listener of [...(this.#listeners.get(type) ?? [])]) listener(told);
  }
}
