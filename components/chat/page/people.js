// Who is here: a count in the header, who is typing, and dialogs in which one turns to somebody.

import { open } from "./dialogs.js";
import { $, element, icon } from "./dom.js";
import { hue, initial, why } from "./message.js";
import { listOf, onLanguage, say, sayIf } from "./words.js";

/** How long it is told that somebody came or went, in milliseconds. */
const TOLD = 5000;

/** How slowly one may have to speak, in seconds. */
const PACES = [0, 10, 60];

/** For how long somebody is muted, in seconds. */
const MUTED = 600;

export class People {
  #chat;
  #room;
  #go;
  /** Who came or went a moment ago, in words. */
  #told = "";
  #calm;
  /** Whom one has turned to. */
  #person;
  /** The room as the server tells it: roles, and what moderators see. */
  #rules;

  /** `go` opens a room by its name. */
  constructor(go) {
    this.#go = go;
    $("open-people").addEventListener("click", () => this.open());
    onLanguage(() => {
      if (this.#room) this.update();
    });
  }

  show(chat, room) {
    this.#chat = chat;
    this.#room = room;
    this.#rules = undefined;
    this.#tell("");
    this.update();
  }

  /** Somebody came or went: told for a while, and to nobody who did not look. */
  pass(room, text) {
    if (room === this.#room) this.#tell(text);
  }

  #tell(text) {
    clearTimeout(this.#calm);
    this.#told = text;
    if (text) this.#calm = setTimeout(() => this.#tell(""), TOLD);
    this.#line();
  }

  update() {
    const { people } = this.#room;
    const button = $("open-people");
    button.hidden = !people;
    if (people) {
      button.lastElementChild.textContent = people.count > 999 ? "999+" : String(people.count);
      button.setAttribute("aria-label", say("here", { count: people.count }));
      button.title = say("here", { count: people.count });
    }
    this.#line();
    if ($("people").open) this.#fill();
  }

  /** Who is typing; else who came or went. */
  #line() {
    const typing = (this.#room?.people?.typing ?? []).filter(({ sender }) => !this.#chat.mine.has(sender));
    const names = typing.map(({ name }) => name);
    const text = names.length > 3 ? say("typingMany") : names.length ? say("typing", { count: names.length, names: listOf(names) }) : this.#told;
    if ($("typing").textContent !== text) $("typing").textContent = text;
    $("typing").classList.toggle("busy", names.length > 0);
  }

  /** Shows who is here. */
  open() {
    $("people-told").textContent = "";
    this.#fill();
    open("people");
    void this.#ask();
  }

  /** Asks how things stand in the room. */
  async #ask() {
    if (!this.#chat.more.able) return;
    const room = this.#room;
    try {
      const rules = await this.#chat.more.perform("room", { channel: room.name });
      if (room === this.#room) this.#rules = rules;
    } catch {
      // Then there is nothing more to show.
    }
    this.#fill();
  }

  #fill() {
    const room = this.#room;
    $("people-title").textContent = say("peopleIn", { room: room.label });
    const here = room.people?.here ?? [];
    const members = this.#rules?.private ? this.#rules.members : [];
    const away = members.filter(({ sender }) => !here.some((one) => one.sender === sender));
    const items = [...here.map((one) => this.#one(one, true)), ...away.map((one) => this.#one(one, false))];
    keepFocus($("here"), () => $("here").replaceChildren(...items));
    const alone = items.length < 2 && room.people?.count < 2;
    if (alone) $("here").append(element("li", { className: "faint" }, say("nobodyElse")));
    this.#inviting(members);
    this.#keeping();
  }

  #one(person, present) {
    const { sender, name } = person;
    const own = this.#chat.mine.has(sender);
    const role = this.#rules?.members.find((one) => one.sender === sender)?.role;
    const more = [own && say("you"), role && role !== "member" && say(`role-${role}`), !present && say("away")].filter(Boolean);
    const label = [face(person), element("span", {}, element("bdi", {}, name), element("small", {}, more.join(" · ")))];
    // Whom one cannot turn to is no button.
    if (own || !this.#chat.more.able) return element("li", { className: present ? "one" : "one away" }, ...label);
    const button = element("button", { type: "button", className: present ? "one" : "one away", onclick: () => this.turn(person) }, ...label);
    return element("li", {}, button);
  }

  /** Whom one knows from elsewhere, and may let in. */
  #inviting(members) {
    const may = this.#rules?.private && this.#rules.moderation;
    const known = new Map();
    for (const { people } of may ? this.#chat.rooms.values() : []) {
      for (const one of people?.here ?? []) known.set(one.sender, one);
    }
    const within = [...members, ...(this.#rules?.moderation?.invited ?? [])].map(({ sender }) => sender);
    const others = [...known.values()].filter(({ sender }) => !this.#chat.mine.has(sender) && !within.includes(sender));
    $("inviting").hidden = others.length === 0;
    $("guests").replaceChildren(
      ...others.map((one) => {
        const invite = () => this.#do("invite", { sender: one.sender }, say("invited", { name: one.name }), $("people-told"));
        const button = element("button", { type: "button", className: "one", onclick: invite }, face(one), element("bdi", {}, one.name), icon("join"));
        return element("li", {}, button);
      }),
    );
  }

  /** What moderators do for the room. */
  #keeping() {
    const moderation = this.#rules?.moderation;
    $("keeping").hidden = !moderation || this.#room.with !== undefined;
    if (!moderation) return;
    const told = $("people-told");
    const paces = PACES.includes(this.#rules.slow) ? PACES : [...PACES, this.#rules.slow];
    const choices = paces.map((seconds) => {
      const choose = () => this.#do("slow", { seconds }, say("done"), told);
      const radio = element("input", { type: "radio", name: "slow", checked: seconds === this.#rules.slow, onchange: choose });
      return element("label", {}, radio, element("span", {}, pace(seconds)));
    });
    keepFocus($("slow"), () => $("slow").replaceChildren(...choices));
    const undo = (verb) => ({ sender }) => {
      const name = this.#nameOf(sender);
      const act = () => this.#do(verb, { sender }, say("done"), told);
      return element("li", {}, element("button", { type: "button", className: "quiet", onclick: act }, say(verb, { name })));
    };
    const items = [...moderation.mutes.map(undo("unmute")), ...moderation.bans.map(undo("unban"))];
    $("kept").replaceChildren(...items);
    $("kept").previousElementSibling.hidden = items.length === 0;
  }

  #nameOf(sender) {
    return nameOf(this.#room, sender);
  }

  /** Turns to somebody: what can be done. */
  turn(person) {
    this.#person = person;
    $("people").close();
    $("person-title").replaceChildren(element("bdi", {}, person.name), " ", element("small", {}, `(${person.sender.slice(-4)})`));
    $("person-told").textContent = "";
    this.#offer();
    open("person");
    // What is offered already stays, and what was pressed of it.
    const known = JSON.stringify(this.#rules);
    void this.#ask().then(() => JSON.stringify(this.#rules) === known || this.#offer());
  }

  #offer() {
    const person = this.#person;
    const { sender, name } = person;
    const told = $("person-told");
    const acts = [];
    const act = (text, run) => acts.push(element("li", {}, element("button", { type: "button", onclick: run }, text)));
    if (this.#room.with?.sender !== sender) {
      act(say("writeTo", { name }), () => this.#leading(async () => this.#go(await this.#chat.more.direct(person)), told));
    }
    for (const room of this.#chat.rooms.values()) {
      const may = /^@room~/.test(room.name) && /^(owner|moderator)$/.test(room.role);
      const within = room === this.#room || room.people?.here.some((one) => one.sender === sender);
      if (!may || within) continue;
      act(say("inviteTo", { room: room.label }), () =>
        this.#do("invite", { channel: room.name, sender }, say("invited", { name }), told),
      );
    }
    if (this.#rules?.moderation && !this.#room.with) {
      act(say("mute"), () => this.#do("mute", { sender, seconds: MUTED }, say("done"), told));
      const banned = () => this.#do("ban", { sender }, say("done"), told);
      act(say("ban"), ({ currentTarget }) => sure(currentTarget, say("banSure", { name }), banned));
      if (this.#rules.private) act(say("remove"), () => this.#do("remove", { sender }, say("done"), told));
    }
    keepFocus($("person-acts"), () => $("person-acts").replaceChildren(...acts));
  }

  /** Does a command in the room, says what became of it, and looks again. */
  async #do(verb, about, done, told) {
    try {
      await this.#chat.more.perform(verb, { channel: this.#room.name, ...about });
      tell(told, done);
    } catch (error) {
      tell(told, refusal(error), true);
    }
    await this.#ask();
  }

  /** Does something that leads to another room. */
  async #leading(act, told) {
    try {
      await act();
      for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
    } catch (error) {
      tell(told, refusal(error), true);
    }
  }

  /** Makes a private room, and goes there. */
  create(title, told) {
    return this.#leading(async () => this.#go(await this.#chat.more.create(title)), told);
  }
}

/** Says what became of something. */
function tell(place, text, refused = false) {
  place.textContent = text;
  place.classList.toggle("alarm", refused);
}

/** Why something was not done. */
const refusal = ({ code }) => say("notDone", { reason: sayIf(`not-${code}`) ?? why(code) });

/** Asks again before something that cannot be taken back. */
export function sure(button, question, act) {
  if (button.dataset.asked) return act();
  button.dataset.asked = "yes";
  button.classList.add("alarm");
  button.textContent = question;
}

const pace = (seconds) =>
  seconds === 0 ? say("slowOff") : seconds % 60 ? say("seconds", { count: seconds }) : say("minutes", { count: seconds / 60 });

const face = ({ sender, name }) => {
  const made = element("span", { className: "face", "aria-hidden": "true" }, initial(name));
  made.style.setProperty("--hue", hue(sender));
  return made;
};

/** What somebody in a room is called; their sign where nobody has heard of them. */
export function nameOf({ people, timeline }, sender) {
  const known = people?.here.find((one) => one.sender === sender) ?? timeline.messages.findLast((one) => one.sender === sender);
  return known?.name ?? sender.slice(-4);
}

/** Puts other things in a place; what has the focus there hands it to what takes its place. */
function keepFocus(place, change) {
  const all = () => [...place.querySelectorAll("button, input")];
  const at = all().indexOf(document.activeElement);
  change();
  if (at >= 0) (all()[at] ?? all().at(-1) ?? place.closest("dialog")?.querySelector("[data-close]"))?.focus();
}
