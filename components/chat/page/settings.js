// How one likes the page, and who one is.

import { $ } from "./dom.js";
import { chosenTheme, paint } from "./theme.js";
import { chosenLanguage, speak } from "./words.js";

/** A set of radio buttons that shows what was chosen, and does what is chosen. */
function choice(name, chosen, choose) {
  for (const radio of document.getElementsByName(name)) {
    radio.checked = radio.value === chosen;
    radio.addEventListener("change", () => choose(radio.value));
  }
}

/** `leave` is for who wants to be somebody else. */
export function settings(leave) {
  choice("theme", chosenTheme(), paint);
  choice("language", chosenLanguage(), speak);
  $("somebody-else").addEventListener("click", () => {
    $("settings").close();
    leave();
  });
}
