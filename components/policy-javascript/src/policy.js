// Rules in JavaScript, over other rules: who somebody is and what they may do is left to the policy that
// this one imports. What a message says is looked at here: nobody shouts, and nobody's address is told.

import * as inner from "witter:messaging/policy@0.1.0";

/** From how many letters on a text without a small one is shouted. "OK" is not. */
const LONG = 12;

/**
 * An address of e-mail, as people write it. Each part has a greatest length: without, a long text that has
 * none would be searched for many seconds, and the host ends who computes that long.
 */
const ADDRESS = /[^\s@,;:"'<>()[\]{}\\/]{1,64}@(?:[^\s@.,;:!?"'<>()[\]{}\\/]{1,63}\.){1,8}[^\s@.,;:!?"'<>()[\]{}\\/]{1,63}/g;

/** What this component exports: all functions of `policy`, see wit/messaging.wit. */
export const policy = {
  authenticate: inner.authenticate,
  permit: inner.permit,
  admit: inner.admit,

  /** Undefined: the body is stored as it is. A string: that is stored. What is thrown: nothing is. */
  review(identity, place, body, context) {
    const changed = inner.review(identity, place, body, context);
    // Those who keep order in a room may raise their voice.
    if (place.role === "owner" || place.role === "moderator") return changed;
    return reviewed(changed ?? body) ?? changed;
  },
};

/** Looks at bodies such as `{"text":"…"}`; lets others pass. */
function reviewed(body) {
  const text = JSON.parse(body)?.text;
  if (typeof text !== "string") return undefined;
  if (isShouted(text)) refuse("please do not shout");
  const told = text.replace(ADDRESS, "(address hidden)");
  return told === text ? undefined : withText(body, told);
}

function isShouted(text) {
  const letters = [...text].filter((letter) => letter.toLowerCase() !== letter.toUpperCase());
  return letters.length >= LONG && letters.every((letter) => letter === letter.toUpperCase());
}

/** The body with another text. */
function withText(body, text) {
  try {
    return JSON.stringify({ ...JSON.parse(body, keepDigits), text });
  } catch {
    // The engine has room for some hundred arrays in one another.
    return refuse("what has an address in it may not be nested so deeply");
  }
}

/** A number as it was written: as one of JavaScript's it might lose digits. */
function keepDigits(_name, value, { source }) {
  return typeof value === "number" ? JSON.rawJSON(source) : value;
}

/** Anything but a case of WIT's `error` that is thrown ends the whole instance, and the requests in it. */
function refuse(why) {
  throw { tag: "forbidden", val: why };
}
