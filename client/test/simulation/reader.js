// @ts-check

/** @typedef {import("./mailbox.js").Position} Position */
/** @typedef {{ frame: Record<string, unknown> }} Item */

/** Where somebody stands in each of the channels that they read. */
export class Reader {
  #mailbox;
  /** @type {Map<string, Position>} */
  places = new Map();

  /** @param {import("./mailbox.js").Mailbox} mailbox */
  constructor(mailbox) {
    this.#mailbox = mailbox;
  }

  /**
   * @param {string} channel
   * @param {Position | undefined} after
   * @param {number} history
   */
  add(channel, after, history) {
    this.places.set(channel, after ?? this.#mailbox.read(channel, { newest: history }, 0).from);
  }

  get cursor() {
    return encode(this.places);
  }

  /**
   * What there is to be told, at most so many messages, and the reader is behind it.
   *
   * @param {number} limit
   */
  take(limit) {
    /** @type {{ envelope?: import("./mailbox.js").Envelope, gap?: object, cursor: string }[]} */
    const frames = [];
    for (const [channel, place] of this.places) {
      const { gap, from, messages, next } = this.#mailbox.read(channel, place, limit - frames.length);
      if (gap) {
        this.places.set(channel, from);
        frames.push({ gap: { channel, ...gap }, cursor: this.cursor });
      }
      for (const { at, envelope } of messages) {
        this.places.set(channel, at);
        frames.push({ envelope, cursor: this.cursor });
      }
      this.places.set(channel, next);
      if (frames.length >= limit) break;
    }
    return frames;
  }
}

/** @param {Map<string, Position>} places */
function encode(places) {
  const text = [...places].map(([channel, { epoch, offset, tag }]) => `${channel}/${epoch}/${offset}/${tag}`).join();
  return Buffer.from(text).toString("base64url");
}

/**
 * The places that a cursor names; undefined where it is none of ours.
 *
 * @param {string} cursor
 */
export function decode(cursor) {
  /** @type {Map<string, Position>} */
  const places = new Map();
  for (const place of Buffer.from(cursor, "base64url").toString().split(",")) {
    const [channel, ...numbers] = place.split("/");
    const [epoch, offset, tag] = numbers.map(Number);
    if (numbers.length !== 3 || ![epoch, offset, tag].every(Number.isInteger) || places.has(channel)) return undefined;
    places.set(channel, { epoch, offset, tag });
  }
  return places;
}
