// Where one writes. What is not sent yet is kept for each room.

import { $ } from "./dom.js";
import { here } from "./kept.js";
import { onLanguage, say } from "./words.js";

/** Where there is only a keyboard on the screen, its Enter begins a new line, as people there expect. */
const touch = matchMedia("(hover: none) and (pointer: coarse)");

export class Composer {
  #room;
  #drafts = here.read("drafts", {});

  /** `send` takes a text. */
  constructor(send) {
    const text = $("text");
    $("say").addEventListener("submit", (event) => {
      event.preventDefault();
      const said = text.value.trim();
      text.focus();
      if (!said) return;
      this.#set("");
      send(said);
    });
    text.addEventListener("input", () => this.#set(text.value));
    text.addEventListener("keydown", (event) => {
      // While an input method composes, Enter chooses a word. Safari tells of that Enter after the composition, with
      // this code alone.
      const composing = event.isComposing || event.keyCode === 229;
      if (event.key === "Enter" && !event.shiftKey && !composing && !touch.matches) {
        event.preventDefault();
        $("say").requestSubmit();
      } else if (/^Page(Up|Down)$/.test(event.key) && !event.shiftKey) {
        event.preventDefault();
        const { clientHeight } = $("log");
        $("log").scrollBy({ top: (event.key === "PageUp" ? -0.85 : 0.85) * clientHeight });
      }
    });
    onLanguage(() => this.#label());
  }

  /** Turns to a room, and what was being written there. */
  show(room) {
    this.#room = room;
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
    $("text").setAttribute("aria-label", say("messageTo", { room: this.#room.name }));
    $("text").placeholder = say("messageHint", { room: this.#room.name });
  }

  #set(value) {
    const text = $("text");
    if (text.value !== value) text.value = value;
    this.#keep(this.#room, value);
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
