// What the keyboard does wherever one is on the page.

import { $ } from "./dom.js";

/** `actions` are functions by name: `step` takes 1 or -1. */
export function shortcuts({ step, nextUnread, join, emoji, keys, latest }) {
  addEventListener("keydown", (event) => {
    if ($("chat").hidden || document.querySelector("dialog[open]") || event.isComposing) return;
    const act = find(event);
    if (!act) return;
    event.preventDefault();
    act();
  });

  function find({ key, altKey, ctrlKey, metaKey, shiftKey }) {
    if (altKey && !ctrlKey && !metaKey) {
      if (shiftKey) return key === "ArrowDown" ? nextUnread : undefined;
      return { ArrowUp: () => step(-1), ArrowDown: () => step(1) }[key];
    }
    if ((ctrlKey || metaKey) && !altKey) {
      // On many keyboards the slash takes Shift.
      if (key === "/") return keys;
      return shiftKey ? undefined : { k: join, e: emoji }[key];
    }
    const drawer = $("side").classList.contains("open");
    return key === "Escape" && !drawer ? latest : undefined;
  }
}
