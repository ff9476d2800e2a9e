// The rooms at the side: a list, a field to join one, and on a phone a drawer that opens over the talk.

import { $, element, icon, rove, sync, tabTo } from "./dom.js";
import { hue, initial } from "./message.js";
import { ROOM } from "./room.js";
import { MOST_ROOMS } from "./rooms.js";
import { textOf } from "./text.js";
import { onLanguage, say, whenOf } from "./words.js";

const narrow = matchMedia("(max-width: 44rem)");

export class Side {
  #chat;
  #current;
  #go;

  /** `go` opens a room by its name. */
  constructor(go) {
    this.#go = go;
    rove($("rooms"), () => [...$("rooms").querySelectorAll("a")]);
    $("rooms").addEventListener("click", () => this.close());
    $("join").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#join(go);
    });
    $("room").addEventListener("input", () => this.#complain(""));
    $("open-rooms").addEventListener("click", () => this.open());
    for (const id of ["close-rooms", "shade"]) $(id).addEventListener("click", () => this.close());
    $("side").addEventListener("keydown", ({ key }) => {
      if (key === "Escape") this.close();
    });
    narrow.addEventListener("change", () => this.#fold(false));
    onLanguage(() => {
      this.#complain("");
      $("rooms").replaceChildren();
      $("invited").replaceChildren();
      this.update();
    });
  }

  show(chat, current) {
    this.#chat = chat;
    this.#current = current;
    this.update();
    this.#fold(false);
  }

  update() {
    if (!this.#chat) return;
    const { more, rooms, mine, name, unread } = this.#chat;
    this.#invite(more);
    sync($("rooms"), Array.from(rooms.values(), (room) => this.#row(room, mine)), (row) => this.#make(row));
    tabTo([...$("rooms").querySelectorAll("a")], $("rooms").querySelector("[aria-current]"));
    $("me").textContent = name;
    $("face").textContent = initial(name);
    $("face").style.setProperty("--hue", hue([...mine].at(-1) ?? ""));
    const elsewhere = unread - this.#current.unread(mine);
    $("elsewhere").hidden = elsewhere === 0;
    $("elsewhere").textContent = short(elsewhere);
    const told = elsewhere ? `. ${say("unread", { count: elsewhere })}` : "";
    $("open-rooms").setAttribute("aria-label", say("openRooms") + told);
  }

  /** What one was invited to. */
  #invite({ able, invited }) {
    $("open-new").hidden = !able;
    $("invited").hidden = invited.length === 0;
    sync($("invited"), invited.map((one) => ({ key: one.channel, version: one.title, ...one })), (one) => this.#invitation(one));
  }

  #invitation({ channel, title, by }) {
    const room = title ?? say("privateRoom");
    const act = (text, className, run) => element("button", { type: "button", className, onclick: run }, text);
    const who = this.#chat.more.names.get(by) ?? this.#nameOf(by);
    const accept = () => this.#chat.more.join(channel).then(() => this.#go(channel), () => this.#chat.more.notice());
    return element(
      "li",
      {},
      element("p", {}, say("invitedYou", { name: who, room })),
      act(say("accept"), "main", accept),
      act(say("decline"), "quiet", () => this.#chat.more.leave(channel)),
    );
  }

  /** What somebody is called in any of the rooms. */
  #nameOf(sender) {
    for (const { people, timeline } of this.#chat.rooms.values()) {
      const known = [...(people?.here ?? []), ...timeline.messages].findLast((one) => one.sender === sender);
      if (known) return known.name;
    }
    return sender.slice(-4);
  }

  #row(room, mine) {
    const shown = room.shown.at(-1);
    const pending = room.pending.findLast(({ refers }) => !refers || refers.kind === "reply");
    const last = pending ?? (shown && { ...shown.message, body: shown.body, shown });
    const count = room.unread(mine);
    const current = room === this.#current;
    const version = [current, count, last?.id, last?.state, textOf(last?.body), room.denied, room.begun, room.label].join(" ");
    return { key: room.name, version, room, last, count, current, own: last && (last.state || mine.has(last.sender)) };
  }

  #make({ room, last, count, current, own }) {
    const link = element("a", { href: `#${room.name}`, className: count ? "unread" : "" });
    if (current) link.setAttribute("aria-current", "page");
    const label = element("strong", {}, element("bdi", {}, room.label));
    if (/^@(room|direct)~/.test(room.name)) label.prepend(icon(room.with ? "people" : "lock"));
    link.append(label);
    link.append(element("small", {}, last ? whenOf(last.sent_at) : ""));
    link.append(element("span", { className: "last", dir: "auto" }, this.#lastLine(room, last, own)));
    if (count) {
      const badge = element("span", { className: "count", "aria-hidden": "true" }, short(count));
      link.append(badge, element("span", { className: "unseen" }, say("unread", { count })));
    }
    return element("li", {}, link);
  }

  #lastLine({ denied, begun }, last, own) {
    if (denied) return say("denied");
    if (!last) return begun ? say("quiet") : "";
    // What does not fit is cut off by the page; nobody needs 64 KiB of it there.
    const text = textOf(last.body).slice(0, 200).replace(/\s+/g, " ");
    return own ? say("youSaid", { text }) : say("said", { name: last.name, text });
  }

  #join(go) {
    const name = $("room").value.trim().replace(/^#/, "");
    if (!name) return $("room").focus();
    if (!ROOM.test(name)) return this.#complain(say("roomGrammar"));
    if (!this.#chat.rooms.has(name) && this.#chat.rooms.size >= MOST_ROOMS) return this.#complain(say("tooManyRooms"));
    $("room").value = "";
    this.close();
    go(name);
  }

  /** Says that an address names no room. */
  refuse(name) {
    this.open();
    this.#complain(say("noRoom", { name }));
  }

  #complain(text) {
    $("no-room").textContent = text;
    $("room").setAttribute("aria-invalid", String(text !== ""));
  }

  /** Where there is room for one thing only: shows the rooms. */
  open() {
    if (!narrow.matches) return;
    this.#fold(true);
    ($("rooms").querySelector("[aria-current]") ?? $("close-rooms")).focus();
  }

  close() {
    if (!$("side").classList.contains("open")) return;
    this.#fold(false);
    $("open-rooms").focus();
  }

  #fold(open) {
    $("side").classList.toggle("open", open);
    $("talk").inert = open;
    $("open-rooms").setAttribute("aria-expanded", String(open));
  }
}

/** A count that fits into a badge. */
const short = (count) => (count > 99 ? "99+" : String(count));
