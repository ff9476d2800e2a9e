// @ts-check

/** How long an id is remembered at least, in milliseconds. */
const ID_AGE = 600_000;

/**
 * @typedef {object} Position
 * @property {number} epoch 0: the channel was not born.
 * @property {number} offset
 * @property {number} tag
 */

/**
 * @typedef {object} Envelope
 * @property {string} channel
 * @property {number} offset
 * @property {string} id
 * @property {string} sender
 * @property {string} name
 * @property {number} sent_at
 * @property {unknown} [refers]
 * @property {unknown} body
 */

/** @typedef {{ epoch: number, envelope: Envelope }} Stored */
/** @typedef {{ after: number, resumed: number }} Gap */
/** @typedef {{ envelope: Envelope, tag: number }} Entry */
/** @typedef {{ offset: number, at: number, text: string }} Known */

/** One channel's log. */
class Log {
  /** @type {Entry[]} Those behind the floor. */
  entries = [];
  floor = 0;
  /** The tag of the last message before the window. */
  floorTag = 0;
  /** @type {Map<string, Known>} */
  ids = new Map();

  /** @param {number} epoch */
  constructor(epoch) {
    this.epoch = epoch;
  }

  get head() {
    return this.floor + this.entries.length;
  }

  /** @param {number} offset */
  tag(offset) {
    return offset === this.floor ? this.floorTag : this.entries[offset - this.floor - 1].tag;
  }

  /** @param {number} offset */
  position(offset) {
    return { epoch: this.epoch, offset, tag: this.tag(offset) };
  }
}

/** What the server stores: the rules of `crates/mailbox`, with a store that does what it says. */
export class Mailbox {
  #clock;
  #epoch = 0;
  #tag = 0;
  /** @type {Map<string, Log>} */
  #logs = new Map();
  /** @type {Stored[]} All that was ever stored, for whoever checks. */
  stored = [];

  /** @param {import("./clock.js").Clock} clock */
  constructor(clock) {
    this.#clock = clock;
  }

  /** @param {string} channel */
  log(channel) {
    return this.#logs.get(channel);
  }

  /**
   * @param {{ sender: string, name: string }} who
   * @param {string} channel
   * @param {{ id: string, body: unknown, refers?: unknown }} draft
   * @returns {{ offset: number } | { error: string }}
   */
  publish(who, channel, { id, body, refers }) {
    let log = this.#logs.get(channel);
    if (!log) this.#logs.set(channel, (log = new Log(++this.#epoch)));
    const now = this.#clock.now;
    const key = `${who.sender} ${id}`;
    const text = JSON.stringify([refers, body]);
    const known = log.ids.get(key);
    if (known && (known.offset > log.floor || now - known.at < ID_AGE)) {
      return known.text === text ? { offset: known.offset } : { error: "id-reused" };
    }
    const offset = log.head + 1;
    const envelope = { channel, offset, id, sender: who.sender, name: who.name, sent_at: now, ...(refers ? { refers } : {}), body };
    log.entries.push({ envelope, tag: ++this.#tag });
    log.ids.set(key, { offset, at: now, text });
    this.stored.push({ epoch: log.epoch, envelope });
    return { offset };
  }

  /**
   * What is behind a place, without waiting.
   *
   * @param {string} channel
   * @param {Position | { newest: number }} start
   * @param {number} limit
   * @returns {{ gap: Gap | undefined, from: Position, messages: { at: Position, envelope: Envelope }[], next: Position }}
   */
  read(channel, start, limit) {
    const log = this.#logs.get(channel);
    if (!log) return unborn(start);
    const { floor, head } = log;
    let offset = floor;
    let gap;
    if ("newest" in start) offset = Math.max(head - start.newest, floor);
    else if (start.epoch === 0) gap = floor > 0 ? { after: 0, resumed: floor } : undefined;
    else if (start.epoch !== log.epoch) gap = { after: 0, resumed: floor };
    else if (start.offset > head) gap = { after: floor, resumed: (offset = head) };
    else if (start.offset < floor) gap = { after: start.offset, resumed: floor };
    else {
      offset = start.offset;
      // A store that was rolled back and grew again.
      if (log.tag(offset) !== start.tag) gap = { after: floor, resumed: offset };
    }
    const messages = log.entries.slice(offset - floor, offset - floor + limit).map(({ envelope, tag }) => ({
      at: { epoch: log.epoch, offset: envelope.offset, tag },
      envelope,
    }));
    return { gap, from: log.position(offset), messages, next: log.position(offset + messages.length) };
  }

  /**
   * Backwards: what is below an offset, oldest first.
   *
   * @param {string} channel
   * @param {number} before
   * @param {number} limit
   */
  history(channel, before, limit) {
    const log = this.#logs.get(channel);
    if (!log) return { envelopes: [], before: undefined };
    const end = Math.max(Math.min(before - 1, log.head) - log.floor, 0);
    const begin = Math.max(end - limit, 0);
    const envelopes = log.entries.slice(begin, end).map(({ envelope }) => envelope);
    return { envelopes, before: begin > 0 ? log.floor + begin + 1 : undefined };
  }

  /**
   * The window passes on: so many of the newest stay.
   *
   * @param {string} channel
   * @param {number} keep
   */
  trim(channel, keep) {
    const log = this.#logs.get(channel);
    if (!log || log.entries.length <= keep) return;
    const floor = log.head - keep;
    log.floorTag = log.tag(floor);
    log.entries.splice(0, floor - log.floor);
    log.floor = floor;
  }

  /**
   * The store loses the newest messages, as one restored from a copy does.
   *
   * @param {string} channel
   * @param {number} count
   */
  rollBack(channel, count) {
    const log = this.#logs.get(channel);
    if (!log) return;
    const lost = log.entries.splice(Math.max(log.entries.length - count, 0));
    for (const { envelope } of lost) log.ids.delete(`${envelope.sender} ${envelope.id}`);
  }

  /** The store loses everything. */
  wipe() {
    this.#logs.clear();
  }
}

/**
 * @param {Position | { newest: number }} start
 */
function unborn(start) {
  const next = { epoch: 0, offset: 0, tag: 0 };
  const gap = "epoch" in start && start.epoch !== 0 ? { after: start.offset, resumed: 0 } : undefined;
  return { gap, from: next, messages: [], next };
}
