// One message on the page.

import { element, icon } from "./dom.js";
import { isEmoji, isLong, parts, textOf } from "./text.js";
import { listOf, momentOf, say, sayIf, timeOf } from "./words.js";

/** So many faces are shown of those who have read up to a message. */
const MOST_FACES = 5;

/** So much of a message is shown above one that answers it, in characters. */
const QUOTED = 120;

/** The hue that stands for a sender. */
export function hue(sender) {
  let hash = 0;
  for (const char of sender) hash = (hash * 31 + char.codePointAt(0)) % 360;
  return hash;
}

/** The sign that stands for a name: the first letter of it, or whatever it begins with. */
export const initial = (name) => Array.from(name.trim())[0]?.toLocaleUpperCase() ?? "?";

/**
 * The element of a row. `again` and `discard` are what can be done with one that was refused; `act` and `react`, where they
 * are there, with one that is stored. `nameOf` gives the name of a sender, `mine` is who one is.
 */
export function article(row, actions) {
  const { message, shown, own, first, ends, tag } = row;
  const { sender, name, state } = message;
  const classes = Object.entries({ own, first, ends, [state]: state }).filter(([, holds]) => holds);
  const made = element("article", { className: classes.map(([name]) => name).join(" ") });
  made.style.setProperty("--hue", hue(sender));
  if (!own) made.append(face(name, ends));
  const said = body(message, shown);
  made.append(header(message, own, first, tag));
  if (shown.reply !== undefined) made.append(quote(row));
  const line = element("div", { className: "said" }, said);
  if (!state && actions.act) line.append(dots(shown, actions));
  made.append(line);
  if (isLong(said.textContent)) made.append(folded(said));
  const below = foot(row, actions);
  if (below) made.append(below);
  if (state === "failed") made.append(trouble(message, actions));
  return made;
}

/** Beside the last of those that stand together; the others leave its place empty. */
function face(name, ends) {
  return ends
    ? element("span", { className: "face", "aria-hidden": "true" }, initial(name))
    : element("span", { "aria-hidden": "true" });
}

/** Who and when: to be seen above the first of those that stand together, to be heard before each. */
function header({ name, sent_at, state }, own, first, tag) {
  // A name in another direction of writing leaves the line as it is.
  const who = element(first ? "h2" : "span", {}, element("bdi", {}, name));
  if (tag) who.append(" ", element("small", {}, `(${tag})`));
  if (own) who.append(element("span", {}, ` (${say("you")})`));
  if (own && !tag) who.className = "unseen";
  const when = state === "waiting"
    ? element("small", {}, say("sending"))
    : element("time", { dateTime: new Date(sent_at).toISOString() }, timeOf(sent_at));
  const seen = first || state === "waiting";
  return element("header", { className: seen ? "" : "unseen" }, who, when);
}

/** What it answers. */
function quote({ quoted, gone }) {
  const made = element("blockquote", {});
  if (quoted) {
    const { body, message } = quoted;
    const text = textOf(body).slice(0, QUOTED).replace(/\s+/g, " ");
    made.append(element("bdi", { title: say("replied", { name: message.name }) }, message.name), element("span", { dir: "auto" }, text));
  } else made.append(say(gone ? "repliedGone" : "repliedOld"));
  return made;
}

/** What opens all that can be done with it. One of them has a place in the order of tabs: arrows lead to the others. */
function dots(shown, { act }) {
  const label = say("actOn", { text: textOf(shown.body).slice(0, QUOTED) });
  const button = element("button", { type: "button", className: "dots", tabIndex: -1, "aria-label": label, "aria-haspopup": "dialog" });
  button.append(icon("dots"));
  button.addEventListener("click", () => act(shown));
  return button;
}

/** Below it: that it was edited, what people make of it, and who has read so far. */
function foot({ message, shown, readers }, { react, mine, nameOf }) {
  const { edited, reactions } = shown;
  if (!edited && !reactions.length && !readers.length) return undefined;
  const made = element("footer", {});
  if (edited) made.append(element("small", {}, say("edited")));
  for (const { reaction, people } of reactions) {
    const label = say("reactedBy", { sign: reaction, count: people.length, names: named(people.map(({ name }) => name)) });
    const chip = element("span", { className: "chip" }, element("bdi", {}, reaction), ` ${people.length}`);
    const has = people.some(({ sender }) => mine.has(sender));
    const properties = { type: "button", title: label, "aria-label": label, "aria-pressed": String(has) };
    made.append(element("button", { ...properties, onclick: () => react?.(message.offset, reaction) }, chip));
  }
  if (readers.length) made.append(read(readers, nameOf));
  return made;
}

/** The faces of those who have read up to here. */
function read(readers, nameOf) {
  const names = readers.map(nameOf);
  const label = say("readBy", { names: named(names) });
  const made = element("span", { className: "read", role: "img", "aria-label": label, title: label });
  for (const [at, sender] of readers.slice(0, MOST_FACES).entries()) {
    const face = element("span", { className: "face" }, initial(names[at]));
    face.style.setProperty("--hue", hue(sender));
    made.append(face);
  }
  if (readers.length > MOST_FACES) made.append(`+${readers.length - MOST_FACES}`);
  return made;
}

/** Some names and how many more. */
function named(names) {
  const rest = names.length - 2 * MOST_FACES;
  return rest > 0 ? say("andMore", { names: names.slice(0, 2 * MOST_FACES).join(", "), count: rest }) : listOf(names);
}

/** What was refused says what it would have been. */
const wanted = ({ refers }, { body }) => (refers?.kind === "delete" ? say("deletion") : textOf(body));

function body(message, shown) {
  const { sent_at } = message;
  const text = wanted(message, shown);
  const made = element("p", { className: isEmoji(text) ? "bubble large" : "bubble", dir: "auto", title: momentOf(sent_at) });
  made.append(...parts(text).map(({ text, href }) => (href ? link(text, href) : text)));
  return made;
}

/** Shows a long text in part, and gives what shows all of it. */
function folded(said) {
  const button = element("button", { type: "button", className: "more" });
  const fold = (folds) => {
    said.classList.toggle("folded", folds);
    button.textContent = say(folds ? "more" : "less");
    button.setAttribute("aria-expanded", String(!folds));
  };
  button.addEventListener("click", () => fold(!said.classList.contains("folded")));
  fold(true);
  return button;
}

const link = (text, href) =>
  element("a", { href, rel: "noopener noreferrer nofollow", target: "_blank", referrerPolicy: "no-referrer" }, text);

/** Why something was refused, in words. */
export const why = (code) => sayIf(`because-${code}`) ?? say("because", { code });

/** Why it was not sent, in words. */
export const reason = ({ error }) => say("failed", { reason: why(error) });

function trouble(message, { again, discard }) {
  return element(
    "div",
    { className: "trouble" },
    element("span", {}, reason(message)),
    element(
      "span",
      {},
      element("button", { type: "button", onclick: () => again(message.id) }, say("tryAgain")),
      element("button", { type: "button", onclick: () => discard(message.id) }, say("discard")),
    ),
  );
}
