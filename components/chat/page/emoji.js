// A few emoji to choose from.

import { $, element, rove, tabTo } from "./dom.js";

const CHOICE = Array.from(
  new Intl.Segmenter().segment(
    "😀😄😂🤣😊😍😘😎🤔😅😉😴😢😭😡😱🙄🥳🤗🤯👍👎👏🙏👋💪🤝✌️👀💡🔥✨🎉❤️💚💔⭐☀️🌙🌧️☕🍵🍕🍰🍀🌸🐱🐶🚀🚲🌍🎂⏰✅❓❌",
  ),
  ({ segment }) => segment,
);

/** Lets one choose; `insert` takes what was chosen. */
export function emojiPicker(insert) {
  const panel = $("emoji");
  const opener = $("open-emoji");
  const buttons = CHOICE.map((sign) => element("button", { type: "button" }, sign));
  panel.append(...buttons);
  tabTo(buttons, buttons[0]);
  // As many stand in a row as begin on the height of the first.
  rove(panel, () => buttons, () => buttons.filter(({ offsetTop }) => offsetTop === buttons[0].offsetTop).length);

  const show = (open) => {
    panel.hidden = !open;
    opener.setAttribute("aria-expanded", String(open));
    if (open) buttons.find(({ tabIndex }) => tabIndex === 0).focus();
  };
  const close = () => {
    show(false);
    $("text").focus();
  };
  opener.addEventListener("click", () => (panel.hidden ? show(true) : close()));
  panel.addEventListener("click", ({ target }) => {
    if (!buttons.includes(target)) return;
    tabTo(buttons, target);
    insert(target.textContent);
    close();
  });
  panel.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    close();
  });
  // Who goes on elsewhere has chosen nothing.
  document.addEventListener("pointerdown", ({ target }) => {
    if (!panel.hidden && !panel.contains(target) && !opener.contains(target)) show(false);
  });
  panel.addEventListener("focusout", ({ relatedTarget }) => {
    if (relatedTarget && !panel.contains(relatedTarget) && relatedTarget !== opener) show(false);
  });
  return () => (panel.hidden ? show(true) : close());
}
