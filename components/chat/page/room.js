// A room that one is in. Knows no page.

import { Timeline } from "./timeline.js";

/** What a room may be called: the server's grammar of channels. */
export const ROOM = /^(?=.{1,64}$)@?[A-Za-z0-9._~-]+$/;

export class Room {
  timeline = new Timeline();
  /**
   * One's own that did not come back yet, in order, like messages without an offset, and with a `state`: `waiting`,
   * `stored`, or `failed` with an `error`, a code of the server's or the library's.
   */
  pending = [];
  /** How it stands with the history: undefined, `loading` or `failed`. */
  history;
  /** Whether the newest messages were asked for and came. */
  begun = false;
  /** The offset that "new" stands behind; undefined: nowhere. */
  divider;
  /** Why it may not be read: the server's code. */
  denied;
  /** What it is called, where that is not its name. */
  title;
  /** Who is on the other side of a conversation of two. */
  with;
  /** Who is here, who is typing, who has read how far; undefined where the server does not tell. */
  people;

  /**
   * `read` is the offset of the last message that was seen; undefined where one comes for the first time. `talk` makes of
   * messages what is shown: the library's.
   */
  constructor(name, read, talk) {
    this.name = name;
    this.read = read;
    this.talk = talk;
  }

  /** What it is called. */
  get label() {
    if (this.title || !this.with) return this.title ?? this.name;
    const { sender, name } = this.with;
    const known = [...(this.people?.here ?? []), ...this.timeline.messages].findLast((one) => one.sender === sender);
    return known?.name ?? name;
  }

  /** What is shown, and how far others have read. */
  get shown() {
    return this.talk.shown;
  }

  /** What is above the first message: `more`, `loading`, `failed` or `beginning`. */
  get top() {
    return this.timeline.complete ? "beginning" : (this.history ?? "more");
  }

  /** How many messages of others were not seen. */
  unread(mine) {
    if (this.read === undefined) return 0;
    const later = this.timeline.after(this.read);
    return later.filter(({ sender, offset }) => !mine.has(sender) && this.talk.at(offset)).length;
  }

  /** Takes what arrived. `seen`: somebody looks at it. Tells whether it is news. */
  hear(message, seen) {
    const caughtUp = this.read === this.timeline.newest;
    if (!this.timeline.add(message)) return false;
    this.talk.take([message]);
    this.drop(message.id);
    if (seen) this.see();
    else if (caughtUp) this.divider = this.read;
    return true;
  }

  /** Takes a page of history. */
  take(page, seen) {
    this.timeline.addPage(page);
    this.talk.take(page.messages);
    for (const { id } of page.messages) this.drop(id);
    if (this.begun) return;
    this.begun = true;
    const { newest } = this.timeline;
    // Who comes for the first time has missed nothing; a place beyond the end is one in a room that is gone.
    if (!(this.read <= newest)) this.read = newest;
    if (this.read < newest) this.divider = this.read;
    if (seen) this.see();
  }

  /** One's own is stored at an offset: it comes as a message, or came. */
  stored(id, offset) {
    const waiting = this.pending.find((one) => one.id === id);
    if (waiting) Object.assign(waiting, { state: "stored", at: offset });
  }

  /** Takes a gap. What of one's own is stored may be gone with it, and does not come back. */
  miss(gap) {
    const { era } = this.timeline;
    this.timeline.addGap(gap);
    const anew = era !== this.timeline.era;
    this.pending = this.pending.filter(({ state, at }) => state !== "stored" || !(anew || at <= gap.resumed));
    if (anew) {
      this.talk.forget();
      this.read = gap.resumed;
      this.divider = undefined;
    }
  }

  /** Forgets the oldest but for `most`. */
  trim(most) {
    this.timeline.trim(most);
    if (this.timeline.oldest) this.talk.forget(this.timeline.oldest);
  }

  /** Takes what is known of the people here, one's own marks from elsewhere among it. Tells whether marks have moved. */
  meet(people, mine) {
    const before = JSON.stringify(this.people?.marks);
    this.people = people;
    const own = Math.max(...[...mine].map((sender) => people.marks[sender]?.read ?? 0));
    if (own > this.read && own <= this.timeline.newest) this.read = own;
    return JSON.stringify(people.marks) !== before;
  }

  /** Looks at all there is. */
  see() {
    this.read = this.timeline.newest;
  }

  /** Turns to it: what is new from here on is told apart. */
  open(mine) {
    this.divider = this.unread(mine) > 0 ? this.read : undefined;
  }

  /** Takes one's own out of those that did not come back. */
  drop(id) {
    const dropped = this.pending.find((one) => one.id === id);
    if (dropped) this.pending = this.pending.filter((one) => one !== dropped);
    return dropped;
  }
}
