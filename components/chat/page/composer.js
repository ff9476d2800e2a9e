// Where one writes. What is not sent yet is kept for each room.

import { $ } from "./dom.js";
import { here } from "./kept.js";
import { textOf } from "./text.js";
import { onLanguage, say } from "./words.js";

/** Where there is only a keyboard on the screen, its Enter begins a new line, as people there expect. */
const touch = matchMedia("(hover: none) and (pointer: coarse)");

export class Composer {
  #room;
  #drafts = here.read("drafts", {});
  /** `{ kind, shown }`: the message that is answered or edited, and what is shown of it. */
  #about;
  #typed;

  /** `send` takes a text, and what it refers to; `typed` hears of each change; `last` edits one's last message. */
  constructor({ send, typed, last }) {
    this.#typed = typed;
    $("about-drop").addEventListener("click", () => this.#drop());
    const text = $("text");
    $("say").addEventListener("submit", (event) => {
      event.preventDefault();
      const said = text.value.trim();
      text.focus();
      if (!said) return;
      const about = this.#about;
      const refers = about && { kind: about.kind, offset: about.shown.message.offset };
      this.#about = undefined;
      this.#set("");
      this.#tell();
      send(said, refers);
    });
    text.addEventListener("input", () => {
      this.#set(text.value);
      this.#typed(text.value);
    });
    text.addEventListener("keydown", (event) => {
      // While an input method composes, Enter chooses a word. Safari tells of that Enter after the composition, with
      // this code alone.
      const composing = event.isComposing || event.keyCode === 229;
      if (event.key === "Enter" && !event.shiftKey && !composing && !touch.matches) {
        event.preventDefault();
        $("say").requestSubmit();
      } else if (event.key === "ArrowUp" && !text.value && !this.#about && !event.altKey) {
        if (last()) event.preventDefault();
      } else if (event.key === "Escape" && this.#about) {
        event.stopPropagation();
        this.#drop();
      } else if (/^Page(Up|Down)$/.test(event.key) && !event.shiftKey) {
        event.preventDefault();
        const { clientHeight } = $("log");
        $("log").scrollBy({ top: (event.key === "PageUp" ? -0.85 : 0.85) * clientHeight });
      }
    });
    onLanguage(() => {
      this.#label();
      this.#tell();
    });
  }

  /** Answers a message, or edits one's own. */
  about(kind, shown) {
    this.#about = { kind, shown };
    if (kind === "edit") this.#set(textOf(shown.body));
    this.#tell();
    $("text").focus();
  }

  #drop() {
    if (this.#about?.kind === "edit") this.#set("");
    this.#about = undefined;
    this.#tell();
    $("text").focus();
  }

  #tell() {
    const about = this.#about;
    $("about").hidden = !about;
    if (!about) return;
    const { body, message } = about.shown;
    const text = textOf(body).slice(0, 200).replace(/\s+/g, " ");
    $("about-text").textContent = about.kind === "edit" ? say("editing") : say("replyTo", { name: message.name, text });
  }

  /** Turns to a room, and what was being written there. */
  show(room) {
    this.#room = room;
    this.#about = undefined;
    this.#tell();
    this.#label();
    this.#set(this.#drafts[room.name] ?? "");
    // On a touch screen a keyboard would come up and cover what is to be read.
    $(touch.matches ? "log" : "text").focus();
  }

  forget(room) {
    this.#keep(room, "");
  }

  forgetAll() {
    this.#drafts = {};
  }

  /** Puts a text where one writes. */
  insert(text) {
    $("text").setRangeText(text, $("text").selectionStart, $("text").selectionEnd, "end");
    this.#set($("text").value);
  }

  #label() {
    if (!this.#room) return;
    $("text").enterKeyHint = touch.matches ? "enter" : "send";
    $("text").setAttribute("aria-label", say("messageTo", { room: this.#room.label }));
    $("text").placeholder = say("messageHint", { room: this.#room.label });
  }

  #set(value) {
    const text = $("text");
    if (text.value !== value) text.value = value;
    // What is edited is said already.
    if (this.#about?.kind !== "edit") this.#keep(this.#room, value);
    if (CSS.supports("field-sizing", "content")) return;
    text.style.height = "auto";
    text.style.height = `${text.scrollHeight + 2}px`;
  }

  #keep({ name }, value) {
    if (value) this.#drafts[name] = value;
    else delete this.#drafts[name];
    here.write("drafts", this.#drafts);
  }
}
