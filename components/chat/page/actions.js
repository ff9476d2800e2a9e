// What can be done with a message: a menu, and what is written about it.

import { open } from "./dialogs.js";
import { $, element } from "./dom.js";
import { sure } from "./people.js";
import { textOf } from "./text.js";
import { say } from "./words.js";

/** What one reacts with. */
const SIGNS = ["👍", "❤️", "😂", "🎉", "😮", "😢"];

/** `reply` and `edit` take what is shown of a message. */
export class Actions {
  #does;

  constructor(does) {
    this.#does = does;
  }

  /** Offers what can be done with what is shown of a message. */
  open(chat, room, shown, person) {
    const { offset, name, sender } = shown.message;
    const own = chat.mine.has(sender);
    const text = textOf(shown.body).slice(0, 200);
    $("act-title").textContent = say("act", { name, text });
    const done = (act) => () => {
      $("act").close();
      act();
    };
    const signs = SIGNS.map((sign) => {
      const has = shown.reactions.some(({ reaction, people }) => reaction === sign && people.some((one) => chat.mine.has(one.sender)));
      const label = say("reactWith", { sign });
      const react = done(() => chat.react(room, offset, sign));
      return element("button", { type: "button", "aria-label": label, "aria-pressed": String(has), onclick: react }, sign);
    });
    $("reactions").replaceChildren(...signs);
    const acts = [];
    const act = (label, run) => acts.push(element("li", {}, element("button", { type: "button", onclick: run }, label)));
    act(say("reply"), done(() => this.#does.reply(shown)));
    if (own && typeof shown.body?.text === "string") act(say("edit"), done(() => this.#does.edit(shown)));
    if (own || /^(owner|moderator)$/.test(room.role)) {
      const erase = done(() => chat.erase(room, offset));
      act(say("erase"), ({ currentTarget }) => sure(currentTarget, say("eraseSure"), erase));
    }
    if (!own) act(say("turnTo", { name }), done(() => person({ sender, name })));
    $("acts").replaceChildren(...acts);
    open("act");
  }
}
