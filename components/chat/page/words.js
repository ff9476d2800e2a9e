// What the page says, in the language of who reads it.

import { $ } from "./dom.js";
import { always } from "./kept.js";
import en from "./words/en.js";
import zh from "./words/zh.js";

const LANGUAGES = { en, "zh-Hans": zh };

/** Where a text of the page goes: the attribute that names it, and the attribute it becomes. */
const PLACES = { "data-say-label": "aria-label", "data-say-hint": "placeholder", "data-say-title": "title" };

const listeners = [];
let language;
let plurals, lists, numbers, times, seconds, moments, dates, days, relative;

/** What was chosen: a language, or `auto`. */
export const chosenLanguage = () => always.read("language", "auto");

/** Takes a language, or with `auto` that of the browser, and says everything in it. */
export function speak(choice) {
  always.write("language", choice);
  language = choice in LANGUAGES ? choice : preferred();
  plurals = new Intl.PluralRules(language);
  lists = new Intl.ListFormat(language);
  numbers = new Intl.NumberFormat(language);
  times = new Intl.DateTimeFormat(language, { hour: "numeric", minute: "2-digit" });
  seconds = new Intl.DateTimeFormat(language, { timeStyle: "medium" });
  moments = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "medium" });
  dates = new Intl.DateTimeFormat(language, { day: "numeric", month: "short" });
  days = new Intl.DateTimeFormat(language, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
  relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  document.documentElement.lang = language;
  translate();
  for (const listener of listeners) listener();
}

/** Any Chinese is better read as Chinese than as English. */
function preferred() {
  const known = navigator.languages.find((one) => /^(en|zh)\b/i.test(one));
  return /^zh/i.test(known) ? "zh-Hans" : "en";
}

/** Calls when the language has changed. */
export const onLanguage = (listener) => listeners.push(listener);

/** A text by its name. `{member}` in it stands for one of `values`; `count` chooses among plural forms. */
export function say(name, values = {}) {
  const text = LANGUAGES[language][name];
  const form = typeof text === "object" ? text[plurals.select(values.count)] : text;
  return form.replace(/\{(\w+)\}/g, (_, member) =>
    typeof values[member] === "number" ? numbers.format(values[member]) : values[member],
  );
}

/** A text by its name, where there is one. */
export const sayIf = (name) => (name in LANGUAGES[language] ? say(name) : undefined);

/** Says what the elements of the page name. */
function translate() {
  for (const one of document.querySelectorAll("[data-say]")) one.textContent = say(one.dataset.say);
  for (const [named, attribute] of Object.entries(PLACES)) {
    for (const one of document.querySelectorAll(`[${named}]`)) one.setAttribute(attribute, say(one.getAttribute(named)));
  }
}

/** Names in a row. */
export const listOf = (names) => lists.format(names);

export const timeOf = (at) => times.format(at);
export const secondOf = (at) => seconds.format(at);
export const momentOf = (at) => moments.format(at);

/** When, in few letters: the time of today, else the day. */
export const whenOf = (at) => (new Date(at).toDateString() === new Date().toDateString() ? timeOf(at) : dates.format(at));

/** The day of a time: today and yesterday by their names. */
export function dayOf(at) {
  const midnight = (time) => new Date(time).setHours(0, 0, 0, 0);
  // Where the clocks change a day has an hour more or less.
  const since = Math.round((midnight(at) - midnight(Date.now())) / 86_400_000);
  if (since < -1 || since > 0) return days.format(at);
  const name = relative.format(since, "day");
  return name.charAt(0).toLocaleUpperCase(language) + name.slice(1);
}

/** Tells a screen reader, once. */
export function announce(text) {
  const line = document.createElement("p");
  line.textContent = text;
  $("news").append(line);
  while ($("news").childElementCount > 5) $("news").firstElementChild.remove();
}
