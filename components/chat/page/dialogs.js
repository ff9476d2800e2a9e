// Dialogs: the browser keeps the focus in them, closes them by Esc, and gives the focus back.

import { $, heir } from "./dom.js";

/** Opens a dialog, unless one is open. */
export function open(id) {
  if (document.querySelector("dialog[open]")) return;
  const opener = document.activeElement;
  const dialog = $(id);
  dialog.showModal();
  dialog.addEventListener("close", () => giveBack(dialog, opener), { once: true });
}

/** The browser gives the focus to nobody where what had it was drawn anew behind the dialog. */
function giveBack(dialog, opener) {
  const { activeElement, body } = document;
  if (activeElement === body || dialog.contains(activeElement)) heir(opener)?.focus();
}

for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("click", (event) => {
    // What is behind belongs to the dialog too, but is not within it.
    const { left, right, top, bottom } = dialog.getBoundingClientRect();
    const { clientX: x, clientY: y, target } = event;
    const outside = target === dialog && (x < left || x > right || y < top || y > bottom);
    if (outside || target.closest("[data-close]")) dialog.close();
  });
}
