// One message on the page.

import { element } from "./dom.js";
import { isEmoji, isLong, parts, textOf } from "./text.js";
import { momentOf, say, sayIf, timeOf } from "./words.js";

/** The hue that stands for a sender. */
export function hue(sender) {
  let hash = 0;
  for (const char of sender) hash = (hash * 31 + char.codePointAt(0)) % 360;
  return hash;
}

/** The sign that stands for a name: the first letter of it, or whatever it begins with. */
export const initial = (name) => Array.from(name.trim())[0]?.toLocaleUpperCase() ?? "?";

/** The element of a row; `again` and `discard` are what can be done with one that was refused. */
export function article({ message, own, first, ends, tag }, actions) {
  const { sender, name, state } = message;
  const classes = Object.entries({ own, first, ends, [state]: state }).filter(([, holds]) => holds);
  const made = element("article", { className: classes.map(([name]) => name).join(" ") });
  made.style.setProperty("--hue", hue(sender));
  if (!own) made.append(face(name, ends));
  const said = body(message);
  made.append(header(message, own, first, tag), said);
  if (isLong(said.textContent)) made.append(folded(said));
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

function body({ body, sent_at }) {
  const text = textOf(body);
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

/** Why it was not sent, in words. */
export const reason = ({ error }) => say("failed", { reason: sayIf(`because-${error}`) ?? say("because", { code: error }) });

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
