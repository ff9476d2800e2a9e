// The conversation: the rooms that one is in, over one connection. Knows no page.

import { Room } from "./room.js";

/** In one page of history. */
const PAGE = 50;

/** More messages in one room make an old phone slow; older ones can be had again. */
const MOST = 1000;

/** An id that makes sending again harmless: 128 random bits. */
function drawId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What the conversation tells, and asks: functions without an effect, to be replaced. */
export class Watcher {
  /** A room has changed. */
  changed(room) {}
  /** A message is new. */
  news(room, message) {}
  /** Messages of a room are gone. */
  missed(room) {}
  /** One's own was refused. */
  refused(failed) {}
  /** How the connection stands has changed. */
  state(state) {}
  /** The server will not have us. */
  closed(code) {}
  /** Whether somebody looks at the newest messages of a room. */
  attends(room) {
    return false;
  }
}

export class Chat {
  /** By name, in the order of coming. */
  rooms = new Map();
  /** All whom the server has known us as; the last is who we are. */
  mine = new Set();
  #connection;
  #kept;
  #watcher;
  /** Whether it has ended: what was asked before may still be answered, and is nobody's. */
  #over = false;

  /** Comes in. `connect` is the library's, `kept` what lasts over a reload. */
  constructor(connect, { name, rooms, transports }, kept, watcher) {
    this.name = name;
    this.#kept = kept;
    this.#watcher = watcher;
    for (const { name, read } of rooms) this.rooms.set(name, new Room(name, read));
    this.mine = new Set(kept.read("mine", []));
    this.#connection = connect("/witter", {
      guest: name,
      channels: [...this.rooms.keys()],
      storage: kept.storage,
      ...(transports && { transports }),
    });
    this.#listen();
    this.#restore();
  }

  #listen() {
    const connection = this.#connection;
    connection.on("state", () => this.#turn());
    connection.on("session", (session) => this.#isNow(session));
    connection.on("message", (message) => this.#in(message.channel, (room) => this.#hear(room, message)));
    connection.on("gap", (gap) => this.#in(gap.channel, (room) => this.#miss(room, gap)));
    connection.on("denied", ({ channel, error }) => this.#in(channel, (room) => (room.denied = error)));
    connection.on("stored", ({ channel, offset, id }) => this.#in(channel, (room) => room.stored(id, offset)));
    connection.on("failed", (failed) => this.#fail(failed));
  }

  /** Takes up what was under way when the page was left. */
  #restore() {
    if (this.#connection.session) this.#isNow(this.#connection.session);
    for (const { channel, id, body } of this.#connection.unsent) this.#in(channel, (room) => this.#wait(room, id, body));
    for (const { channel, id, body, error } of this.#kept.read("failed", [])) {
      this.#in(channel, (room) => Object.assign(this.#wait(room, id, body), { state: "failed", error }));
    }
    this.#turn();
  }

  /** Does something with a room that one is still in. */
  #in(name, act) {
    const room = this.rooms.get(name);
    if (!room) return;
    act(room);
    this.#keep();
    this.#watcher.changed(room);
  }

  #keep() {
    if (this.#over) return;
    const rooms = [...this.rooms.values()];
    const failed = rooms.flatMap(({ name, pending }) =>
      pending
        .filter(({ state }) => state === "failed")
        .map(({ id, body, error }) => ({ channel: name, id, body, error })),
    );
    this.#kept.write("rooms", rooms.map(({ name, read }) => ({ name, read })));
    this.#kept.write("failed", failed);
  }

  #isNow({ sender, name }) {
    this.name = name;
    this.mine.delete(sender);
    this.mine.add(sender);
    this.#kept.write("mine", [...this.mine]);
    for (const room of this.rooms.values()) this.#watcher.changed(room);
  }

  #turn() {
    const { state } = this.#connection;
    this.#watcher.state(state);
    if (state.kind === "closed" && !this.#over) {
      this.#over = true;
      this.#watcher.closed(state.reason);
    }
    if (state.kind === "live" || state.kind === "fallback") {
      for (const room of this.rooms.values()) this.#begin(room);
    }
  }

  /** Gets the newest messages of a room that is followed: asked for before, they could end before what arrives. */
  #begin(room) {
    if (!room.begun) void this.load(room);
  }

  #hear(room, message) {
    const seen = this.#watcher.attends(room);
    if (!room.hear(message, seen)) return;
    if (seen) room.timeline.trim(MOST);
    this.#watcher.news(room, message);
  }

  #miss(room, gap) {
    room.miss(gap);
    this.#watcher.missed(room);
  }

  #fail({ channel, id, body, error }) {
    this.#in(channel, (room) => {
      const failed = room.pending.find((one) => one.id === id) ?? this.#wait(room, id, body);
      Object.assign(failed, { state: "failed", error: error.code });
      this.#watcher.refused(failed);
    });
  }

  #wait(room, id, body) {
    const sender = [...this.mine].at(-1) ?? "";
    const waiting = { id, body, sender, name: this.name, sent_at: Date.now(), state: "waiting" };
    room.pending.push(waiting);
    return waiting;
  }

  /** The room of that name, which one is in from now on. */
  enter(name) {
    if (!this.rooms.has(name)) {
      const room = new Room(name);
      this.rooms.set(name, room);
      this.#keep();
      this.#connection.subscribe(name).then(
        () => this.#begin(room),
        ({ code }) => {
          // Who left it again wants no answer, and may be back already.
          if (this.rooms.get(name) === room) this.#in(name, () => (room.denied = code));
        },
      );
    }
    return this.rooms.get(name);
  }

  /** Goes out of a room. */
  exit(room) {
    this.#connection.unsubscribe(room.name);
    this.rooms.delete(room.name);
    this.#keep();
  }

  /** Gets the newest messages, later those before the first that is known. */
  async load(room) {
    const { timeline } = room;
    if (timeline.complete || room.history === "loading" || room.denied) return;
    room.history = "loading";
    this.#watcher.changed(room);
    const { era } = timeline;
    const before = room.begun ? timeline.oldest : undefined;
    try {
      const page = await this.#connection.history(room.name, { limit: PAGE, ...(before && { before }) });
      room.history = undefined;
      if (era === timeline.era) room.take(page, this.#watcher.attends(room));
    } catch {
      room.history = "failed";
    }
    this.#keep();
    this.#watcher.changed(room);
  }

  /** All there is in a room was looked at. */
  see(room) {
    if (!room.begun || room.read === room.timeline.newest) return;
    room.see();
    this.#keep();
    this.#watcher.changed(room);
  }

  send(room, text) {
    room.divider = undefined;
    this.#publish(room, { text });
  }

  #publish(room, body) {
    const { id } = this.#wait(room, drawId(), body);
    // What becomes of it is told by an event, as for those kept over a reload.
    this.#connection.publish(room.name, body, { id }).catch(() => {});
    this.#watcher.changed(room);
  }

  /** Sends again what was refused. As a new one: of the old id the server may remember another body. */
  again(room, id) {
    this.#publish(room, this.discard(room, id).body);
  }

  /** Gives up what was refused. */
  discard(room, id) {
    const dropped = room.drop(id);
    this.#keep();
    this.#watcher.changed(room);
    return dropped;
  }

  /** Whether anything is still to be sent. */
  get sending() {
    return this.#connection.unsent.length > 0;
  }

  use(transports) {
    this.#connection.use(transports);
  }

  /** How many messages were not seen, in all rooms. */
  get unread() {
    return [...this.rooms.values()].reduce((sum, room) => sum + room.unread(this.mine), 0);
  }

  /** Goes for good. */
  leave() {
    this.#over = true;
    this.#connection.close();
  }
}
