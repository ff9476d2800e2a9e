// @ts-check

/** How long somebody is kept who left, in milliseconds: a change of transport is not told. */
const GRACE = 6000;

/** How long somebody is typing who said so once, in milliseconds. */
const TYPING = 6000;

/** @typedef {{ sender: string, name: string }} Somebody */
/** @typedef {{ read: number, delivered: number }} Mark */
/** @typedef {{ name: string, count: number, leaving?: import("./clock.js").Event }} Attendance */

/** What is known of the people in one channel. */
class Room {
  /** @type {Map<string, Attendance>} */
  here = new Map();
  /** @type {Map<string, { name: string, over: import("./clock.js").Event }>} */
  typing = new Map();
  /** @type {Map<string, Mark>} */
  marks = new Map();
}

/** Who is where, who is typing, who has read how far: `crates/presence`, with one instance that never dies. */
export class Presence {
  #clock;
  #changed;
  /** @type {Map<string, Room>} */
  #rooms = new Map();

  /**
   * @param {import("./clock.js").Clock} clock
   * @param {() => void} changed
   */
  constructor(clock, changed) {
    this.#clock = clock;
    this.#changed = changed;
  }

  /** @param {string} channel */
  #room(channel) {
    const room = this.#rooms.get(channel) ?? new Room();
    this.#rooms.set(channel, room);
    return room;
  }

  /**
   * @param {Somebody} who
   * @param {string} channel
   */
  attend({ sender, name }, channel) {
    const { here } = this.#room(channel);
    const one = here.get(sender) ?? { name, count: 0 };
    if (!here.has(sender)) this.#changed();
    here.set(sender, one);
    this.#clock.cancel(one.leaving);
    one.count++;
    return () => {
      if (--one.count) return;
      one.leaving = this.#clock.after(GRACE, () => {
        here.delete(sender);
        this.#changed();
      });
    };
  }

  /**
   * @param {Somebody} who
   * @param {string} channel
   * @param {boolean} over
   */
  type({ sender, name }, channel, over) {
    const { typing } = this.#room(channel);
    const before = typing.get(sender);
    this.#clock.cancel(before?.over);
    const stop = () => typing.delete(sender) && this.#changed();
    if (over) return stop();
    typing.set(sender, { name, over: this.#clock.after(TYPING, stop) });
    if (!before) this.#changed();
  }

  /**
   * @param {Somebody} who
   * @param {string} channel
   * @param {Mark} mark
   */
  mark({ sender }, channel, { read, delivered }) {
    const { marks } = this.#room(channel);
    const before = marks.get(sender) ?? { read: 0, delivered: 0 };
    const furthest = Math.max(before.read, read);
    const after = { read: furthest, delivered: Math.max(before.delivered, delivered, furthest) };
    marks.set(sender, after);
    this.#changed();
    return after;
  }

  /** @param {string} channel */
  state(channel) {
    const { here, typing, marks } = this.#rooms.get(channel) ?? new Room();
    /** @param {Map<string, { name: string }>} people */
    const list = (people) => [...people].map(([sender, { name }]) => ({ sender, name })).sort(bySender);
    return { channel, count: here.size, here: list(here), typing: list(typing), marks: Object.fromEntries([...marks].sort()) };
  }
}

/** @typedef {ReturnType<Presence["state"]>} State */

/**
 * @param {Somebody} one
 * @param {Somebody} other
 */
const bySender = (one, other) => (one.sender < other.sender ? -1 : 1);

/** What one reader is told of the people in its channels, in which it is seen itself. */
export class Observer {
  #presence;
  #who;
  /** @type {Map<string, { leave: () => void, told: State | undefined }>} */
  #channels = new Map();

  /**
   * @param {Presence} presence
   * @param {Somebody | undefined} who
   */
  constructor(presence, who) {
    this.#presence = presence;
    this.#who = who;
  }

  /** @param {string} channel */
  add(channel) {
    const leave = this.#who ? this.#presence.attend(this.#who, channel) : () => {};
    this.#channels.set(channel, { leave, told: undefined });
  }

  /** @param {string} channel */
  remove(channel) {
    this.#channels.get(channel)?.leave();
    this.#channels.delete(channel);
  }

  leave() {
    for (const channel of this.#channels.keys()) this.remove(channel);
  }

  /** It lagged: it is told everything anew. */
  forget() {
    for (const one of this.#channels.values()) one.told = undefined;
  }

  /** What a stream tells: a whole state first, then what has changed. */
  take() {
    return [...this.#channels].flatMap(([channel, one]) => {
      const state = this.#presence.state(channel);
      const { told } = one;
      one.told = state;
      return (told ? changes(told, state) : [state]).map((state) => ({ state }));
    });
  }

  /** @param {string} known What the last batch gave. */
  batch(known) {
    const digests = decode(known);
    const all = [...this.#channels.keys()].map((channel) => this.#presence.state(channel));
    const state = all.filter((one) => digests.get(one.channel) !== digest(one));
    return { ...(state.length && { state }), presence: encode(all) };
  }
}

/**
 * @param {State} before
 * @param {State} after
 */
function changes(before, after) {
  const { channel, count, typing } = after;
  const joined = after.here.filter(({ sender, name }) => !before.here.some((one) => one.sender === sender && one.name === name));
  const left = before.here.filter(({ sender }) => !after.here.some((one) => one.sender === sender));
  const moved = Object.entries(after.marks).filter(([sender, mark]) => !same(before.marks[sender], mark));
  /** @type {object[]} */
  const told = [];
  if (joined.length || left.length) {
    told.push({ channel, count, ...(joined.length && { joined }), ...(left.length && { left }) });
  }
  if (!same(before.typing, typing)) told.push({ channel, typing });
  if (moved.length) told.push({ channel, marks: Object.fromEntries(moved) });
  return told;
}

/**
 * @param {unknown} one
 * @param {unknown} other
 */
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/**
 * Short, as the server's: a client that read anything in it would be found out.
 *
 * @param {State} state
 */
function digest(state) {
  let hash = 7;
  for (const one of JSON.stringify(state)) hash = (Math.imul(hash, 31) + (one.codePointAt(0) ?? 0)) | 0;
  return hash.toString(36);
}

/** @param {State[]} states */
const encode = (states) =>
  Buffer.from(states.map((state) => `${state.channel}/${digest(state)}`).join()).toString("base64url");

/** @param {string} known */
const decode = (known) =>
  new Map(
    Buffer.from(known, "base64url")
      .toString()
      .split(",")
      .map((one) => /** @type {[string, string]} */ (one.split("/"))),
  );
