// The conversation: the rooms that one is in, over one connection. Knows no page.

import { Room } from "./room.js";
import { Rooms } from "./rooms.js";

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
  /** Something is told of the people in a room. */
  people(room) {}
  /** Somebody came into a room, or went. */
  came(room, person) {}
  wentAway(room, person) {}
  /** The rooms that one is in, or is invited to, have changed. */
  rooms() {}
  /** How the connection stands has changed. */
  state(state) {}
  /** The server will not have us. */
  closed(code) {}
  /** Whether somebody looks at the newest messages of a room. */
  attends(room) {
    return false;
  }
  /** Whether somebody looks at older messages of a room. */
  looksBack(room) {
    return false;
  }
}

export class Chat {
  /** By name, in the order of coming. */
  rooms = new Map();
  /** All whom the server has known us as; the last is who we are. */
  mine = new Set();
  /** What is asked beside messages. */
  more;
  #connection;
  #kept;
  #watcher;
  #conversation;
  #typing;
  #marks;
  /** Whether it has ended: what was asked before may still be answered, and is nobody's. */
  #over = false;

  /** Comes in. `library` is the client library with its helpers, `kept` what lasts over a reload. */
  constructor(library, { name, rooms, transports }, kept, watcher) {
    const { connect, conversation, marks, people, typing } = library;
    this.name = name;
    this.#kept = kept;
    this.#watcher = watcher;
    this.#conversation = conversation;
    for (const { name, read, title, other } of rooms) Object.assign(this.#make(name, read), { title, with: other });
    this.mine = new Set(kept.read("mine", []));
    this.#connection = connect("/witter", {
      guest: name,
      channels: [...this.rooms.keys()],
      storage: kept.storage,
      presence: true,
      ...(transports && { transports }),
    });
    this.#typing = typing(this.#connection);
    this.#marks = marks(this.#connection);
    this.more = new Rooms(this.#connection, kept, { found: (room) => this.#find(room), changed: () => watcher.rooms() });
    this.#listen(people(this.#connection));
    this.#restore();
  }

  #make(name, read) {
    const room = new Room(name, read, this.#conversation(name));
    this.rooms.set(name, room);
    return room;
  }

  #listen(crowd) {
    crowd.on("changed", (people) => this.#meet(people));
    crowd.on("joined", (person) => this.#met(person, (room) => this.#watcher.came(room, person)));
    crowd.on("left", (person) => this.#met(person, (room) => this.#watcher.wentAway(room, person)));
    const connection = this.#connection;
    connection.on("state", () => this.#turn());
    connection.on("session", (session) => this.#isNow(session));
    connection.on("message", ({ channel, body }) => channel === this.more.own && this.#notice(body));
    connection.on("message", (message) => this.#in(message.channel, (room) => this.#hear(room, message)));
    connection.on("gap", (gap) => this.#in(gap.channel, (room) => this.#miss(room, gap)));
    connection.on("denied", ({ channel, error }) => this.#in(channel, (room) => (room.denied = error)));
    connection.on("stored", ({ channel, offset, id }) => this.#in(channel, (room) => room.stored(id, offset)));
    connection.on("failed", (failed) => this.#fail(failed));
  }

  /** Takes up what was under way when the page was left. */
  #restore() {
    if (this.#connection.session) this.#isNow(this.#connection.session);
    for (const unsent of this.#connection.unsent) this.#in(unsent.channel, (room) => this.#wait(room, unsent));
    for (const { error, ...failed } of this.#kept.read("failed", [])) {
      this.#in(failed.channel, (room) => Object.assign(this.#wait(room, failed), { state: "failed", error }));
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
        .map(({ id, refers, body, error }) => ({ channel: name, id, refers, body, error })),
    );
    this.#kept.write("rooms", rooms.map(({ name, read, title, with: other }) => ({ name, read, title, other })));
    this.#kept.write("failed", failed);
  }

  #isNow({ sender, name }) {
    this.name = name;
    this.mine.delete(sender);
    this.mine.add(sender);
    this.#kept.write("mine", [...this.mine]);
    for (const room of this.rooms.values()) this.#watcher.changed(room);
  }

  /** Takes what is known of the people in a room. */
  #meet(people) {
    const room = this.rooms.get(people.channel);
    if (!room) return;
    if (room.meet(people, this.mine)) this.#watcher.changed(room);
    this.#watcher.people(room);
  }

  /** Somebody else came or went: oneself is told by others only. */
  #met({ channel, sender }, tell) {
    const room = this.rooms.get(channel);
    if (room && !this.mine.has(sender)) tell(room);
  }

  /** Takes what the server tells oneself alone. */
  #notice(told) {
    const out = told?.banned ?? told?.removed;
    if (out) {
      this.#in(out.channel, (room) => {
        this.#connection.unsubscribe(room.name);
        room.denied = "forbidden";
      });
    }
    this.more.notice(told);
  }

  /** A room that the server knows one to be in. */
  #find({ channel, title, role, with: other }) {
    if (!this.rooms.has(channel)) this.enter(channel);
    const room = this.rooms.get(channel);
    // Who was never heard of by the server is called by a name that is known here.
    const named = other && (other.name !== other.sender || !room.with);
    Object.assign(room, { title: title ?? undefined, role, with: other && (named ? other : room.with) });
    // Whoever was not let in before may be by now.
    if (room.denied) this.#follow(room);
    this.#keep();
    this.#watcher.changed(room);
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
      if (!this.more.able) void this.more.look();
    }
  }

  /** Gets the newest messages of a room that is followed: asked for before, they could end before what arrives. */
  #begin(room) {
    if (!room.begun) void this.load(room);
  }

  #hear(room, message) {
    const seen = this.#watcher.attends(room);
    if (!room.hear(message, seen)) return;
    if (!this.#watcher.looksBack(room)) room.trim(MOST);
    if (room.talk.at(message.offset)) this.#watcher.news(room, message);
  }

  #miss(room, gap) {
    room.miss(gap);
    this.#watcher.missed(room);
  }

  #fail({ error, ...draft }) {
    this.#in(draft.channel, (room) => {
      const failed = room.pending.find(({ id }) => id === draft.id) ?? this.#wait(room, draft);
      Object.assign(failed, { state: "failed", error: error.code });
      this.#watcher.refused(failed);
    });
  }

  #wait(room, { id, refers, body }) {
    const sender = [...this.mine].at(-1) ?? "";
    const waiting = { id, refers, body, sender, name: this.name, sent_at: Date.now(), state: "waiting" };
    room.pending.push(waiting);
    return waiting;
  }

  /** The room of that name, which one is in from now on. */
  enter(name) {
    if (!this.rooms.has(name)) {
      this.#follow(this.#make(name));
      this.#keep();
    }
    return this.rooms.get(name);
  }

  #follow(room) {
    const { name } = room;
    room.denied = undefined;
    this.#connection.subscribe(name).then(
      () => this.#begin(room),
      ({ code }) => {
        // Who left it again wants no answer, and may be back already.
        if (this.rooms.get(name) === room) this.#in(name, () => (room.denied = code));
      },
    );
  }

  /** Goes out of a room. */
  exit(room) {
    this.#connection.unsubscribe(room.name);
    this.rooms.delete(room.name);
    this.more.leave(room.name);
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
    if (!room.begun) return;
    const news = room.read !== room.timeline.newest;
    room.see();
    if (room.people) this.#marks.read(room.name, room.read);
    if (!news) return;
    this.#keep();
    this.#watcher.changed(room);
  }

  /** Something is written in a room; or not any more. */
  typed(room, text) {
    if (!room.people) return;
    if (text) this.#typing.typed(room.name);
    else this.#typing.over(room.name);
  }

  /** Says something, about another message where there is `refers`. */
  send(room, text, refers) {
    room.divider = undefined;
    this.#typing.sent(room.name);
    this.#publish(room, { text }, refers);
  }

  /** Takes one's own message back, or as a moderator another's. */
  erase(room, offset) {
    this.#publish(room, null, { kind: "delete", offset });
  }

  /** Reacts to a message; with what one has reacted already, takes it back. */
  react(room, offset, sign) {
    const { reactions } = room.talk.at(offset) ?? { reactions: [] };
    const has = reactions.some(({ reaction, people }) => reaction === sign && people.some(({ sender }) => this.mine.has(sender)));
    this.#publish(room, has ? null : sign, { kind: "reaction", offset });
  }

  #publish(room, body, refers) {
    const { id } = this.#wait(room, { id: drawId(), refers, body });
    // What becomes of it is told by an event, as for those kept over a reload.
    this.#connection.publish(room.name, body, { id, ...(refers && { refers }) }).catch(() => {});
    this.#watcher.changed(room);
  }

  /** Sends again what was refused. As a new one: of the old id the server may remember another body. */
  again(room, id) {
    const { body, refers } = this.discard(room, id);
    this.#publish(room, body, refers);
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
    this.more.end();
    this.#connection.close();
  }
}
