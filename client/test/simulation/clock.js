// @ts-check

/** A moment with nothing special about it; not 0, which would hide a time that was never set. */
const BEGINNING = Date.UTC(2024, 0, 1);

/**
 * @typedef {object} Event
 * @property {number} time
 * @property {number} order Of two at the same time the one that was asked for first comes first.
 * @property {(() => void) | undefined} run
 */

/** Time that passes only from one event to the next. */
export class Clock {
  now = BEGINNING;
  /** @type {Event[]} A heap: none is before its parent, at half its index. */
  #events = [];
  #order = 0;

  /**
   * @param {number} ms
   * @param {() => void} run
   * @returns {Event}
   */
  after(ms, run) {
    const event = { time: this.now + Math.max(0, ms), order: this.#order++, run };
    let index = this.#events.push(event) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!before(event, this.#events[parent])) break;
      this.#events[index] = this.#events[parent];
      index = parent;
    }
    this.#events[index] = event;
    return event;
  }

  /** @param {Event | undefined} event */
  cancel(event) {
    if (event) event.run = undefined;
  }

  /**
   * Lets so much time pass, or less where `done` says so after an event; tells whether it did.
   *
   * Between two events all promises settle that can: `setImmediate` comes when no job is left, however long the chains
   * are, and takes less than a microsecond. What is told of unhandled rejections comes before it, too.
   *
   * @param {number} ms
   * @param {() => boolean} done
   * @returns {Promise<boolean>}
   */
  run(ms, done = () => false) {
    const end = this.now + ms;
    return new Promise((resolve, reject) => {
      const step = () => {
        try {
          if (done()) return resolve(true);
          const event = this.#next(end);
          if (!event) {
            this.now = end;
            return resolve(done());
          }
          this.now = Math.max(this.now, event.time);
          /** @type {() => void} */ (event.run)();
        } catch (error) {
          return reject(error);
        }
        setImmediate(step);
      };
      setImmediate(step);
    });
  }

  /** @param {number} end */
  #next(end) {
    while (this.#events.length && (this.#events[0].time <= end || !this.#events[0].run)) {
      const event = this.#pop();
      if (event.run) return event;
    }
    return undefined;
  }

  #pop() {
    const events = this.#events;
    const first = events[0];
    const last = /** @type {Event} */ (events.pop());
    if (events.length) {
      let index = 0;
      for (;;) {
        let child = 2 * index + 1;
        if (child + 1 < events.length && before(events[child + 1], events[child])) child++;
        if (child >= events.length || !before(events[child], last)) break;
        events[index] = events[child];
        index = child;
      }
      events[index] = last;
    }
    return first;
  }
}

/**
 * @param {Event} one
 * @param {Event} other
 */
function before(one, other) {
  return one.time < other.time || (one.time === other.time && one.order < other.order);
}
