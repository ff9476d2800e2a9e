// Light and dark: as the system has it, or as chosen.

import { always } from "./kept.js";

/** What was chosen: `light`, `dark`, or `auto`. */
export const chosenTheme = () => always.read("theme", "auto");

export function paint(theme) {
  always.write("theme", theme);
  document.documentElement.dataset.theme = theme;
}
