// The messages of the room one is in, as they are looked at.

import { $, element, icon, rove, sync, tabTo } from "./dom.js";
import { article } from "./message.js";
import { nameOf } from "./people.js";
import { rows } from "./rows.js";
import { dayOf, onLanguage, say } from "./words.js";

/** How far from the end one still looks at the end, in pixels: about a line. */
const NEAR = 48;

/** How far from the beginning older messages are asked for, in pixels: about a screenful, so that nobody waits. */
const AHEAD = 600;

export class Stream {
  #chat;
  #room;
  /** Whether messages were there when it was shown. */
  #begun = false;
  /** Whether the newest is looked at, and stays so when more comes. */
  #atEnd = true;

  #act;
  /** Whether what is shown has menus. */
  #able = false;

  /** `act` takes what is shown of a message that something is to be done with. */
  constructor(act) {
    this.#act = act;
    rove($("log"), () => this.#dots());
    $("log").addEventListener("scroll", () => this.#look(), { passive: true });
    $("latest").addEventListener("click", () => {
      this.toEnd();
      $("text").focus();
    });
    document.addEventListener("visibilitychange", () => this.#see());
    // A keyboard that comes up, a window that is made smaller, a message that is written: the end stays the end.
    new ResizeObserver(() => {
      if (this.#atEnd) this.#scrollTo(Infinity);
    }).observe($("log"));
    onLanguage(() => {
      if (this.#room) this.show(this.#chat, this.#room);
    });
  }

  /** Shows a room: from where something is new on, or its end. */
  show(chat, room) {
    this.#chat = chat;
    this.#room = room;
    this.#begun = room.begun;
    $("log").replaceChildren();
    this.#draw();
    const mark = $("log").querySelector(".new");
    this.#scrollTo(mark ? mark.offsetTop - $("log").clientHeight / 4 : Infinity);
    this.#look();
  }

  /** What can be done with messages may be more than before. */
  enable() {
    if (this.#able !== this.#chat.more.able) this.update();
  }

  /** Whether somebody looks at the newest messages of a room. */
  attends(room) {
    return room === this.#room && this.#begun && this.#measure() && document.visibilityState === "visible";
  }

  /** Whether somebody looks at older messages of a room: they stay where they are. */
  looksBack(room) {
    return room === this.#room && document.visibilityState === "visible" && !this.#measure();
  }

  /** Whether the end is in sight. The browser tells of scrolling only later: until then what is known is old. */
  #measure() {
    const { scrollHeight, scrollTop, clientHeight } = $("log");
    this.#atEnd = scrollHeight - scrollTop - clientHeight < NEAR;
    return this.#atEnd;
  }

  toEnd() {
    this.#atEnd = true;
    this.#scrollTo(Infinity);
    this.#look();
  }

  /** Shows what has changed; what is looked at stays where it is. */
  update() {
    if (!this.#room) return;
    if (this.#room.begun && !this.#begun) return this.show(this.#chat, this.#room);
    const log = $("log");
    const find = (fits) => Array.from(log.children).find(fits);
    // Its end: what is above its text may come and go with its neighbour, and most of what is looked at is behind it.
    const end = ({ offsetTop, offsetHeight }) => offsetTop + offsetHeight;
    const anchor = this.#measure() ? undefined : find((one) => end(one) > log.scrollTop);
    const before = anchor && end(anchor);
    const key = anchor?.rowKey;
    this.#draw();
    const after = find(({ rowKey }) => rowKey === key);
    if (this.#atEnd) this.#scrollTo(Infinity);
    else if (after) this.#scrollTo(log.scrollTop + end(after) - before);
    this.#look();
  }

  #draw() {
    const { able } = this.#chat.more;
    // It is a part of each row, and rows that are there already are kept.
    if (this.#able !== able) $("log").replaceChildren();
    this.#able = able;
    sync($("log"), rows(this.#room, this.#chat.mine, dayOf), (row) => this.#make(row));
    const dots = this.#dots();
    if (!dots.includes(document.activeElement)) tabTo(dots, dots.at(-1));
  }

  /** What opens the menu of each message, in their order. */
  #dots() {
    return [...$("log").querySelectorAll(".dots")];
  }

  #scrollTo(top) {
    const log = $("log");
    log.scrollTop = Math.min(top, log.scrollHeight);
  }

  /** Takes note of what is looked at. */
  #look() {
    this.#measure();
    if ($("log").scrollTop < AHEAD && this.#room?.begun && this.#room.top === "more") void this.#chat.load(this.#room);
    this.#see();
    this.#offer();
  }

  #see() {
    if (this.#room && this.attends(this.#room)) this.#chat.see(this.#room);
  }

  /** The way to the end, for who is further up. */
  #offer() {
    const button = $("latest");
    button.hidden = this.#atEnd;
    const count = this.#room?.unread(this.#chat.mine) ?? 0;
    const text = count ? say("latestNew", { count }) : "";
    if (button.textContent !== text || !button.childElementCount) button.replaceChildren(text, icon("down"));
    button.setAttribute("aria-label", count ? `${text}. ${say("latest")}` : say("latest"));
  }

  #make(row) {
    const note = (kind, text) => element("p", { className: `note ${kind}` }, text);
    switch (row.kind) {
      case "top":
        return this.#top(row);
      case "day":
        return note("rule", dayOf(row.at));
      case "new":
        return note("rule new", say("new"));
      case "gap":
        if (row.anew) return note("rule gap", say("gapAnew"));
        return note("rule gap", row.count ? say("gap", { count: row.count }) : say("gapUnknown"));
      default:
        return article(row, this.#actions());
    }
  }

  #actions() {
    const chat = this.#chat;
    const room = this.#room;
    return {
      again: (id) => this.#settle("again", id),
      discard: (id) => this.#settle("discard", id),
      mine: chat.mine,
      nameOf: (sender) => nameOf(room, sender),
      ...(chat.more.able && {
        act: (shown) => this.#act(shown),
        react: (offset, sign) => chat.react(room, offset, sign),
      }),
    };
  }

  /** Does what was chosen for one that was refused. The button is gone then: the focus goes to what was around it. */
  #settle(choice, id) {
    this.#chat[choice](this.#room, id);
    $("log").focus();
  }

  /** What is above the first message. */
  #top({ top, oldest, empty }) {
    const room = this.#room;
    const made = element("div", { className: "note top" });
    if (room.denied) made.append(say("denied"));
    else if (top === "failed") {
      const again = element("button", { type: "button", onclick: () => this.#chat.load(room) }, say("tryAgain"));
      made.append(say("loadFailed"), again);
    } else if (top !== "beginning") made.append(say("loading"));
    else if (oldest > 1) made.append(say("trimmed"));
    else made.append(say(empty ? "empty" : "beginning", { room: room.label }));
    made.classList.toggle("empty", empty);
    return made;
  }
}
