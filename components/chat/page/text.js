// What a message's text consists of. Knows no page.

/** Beyond these an address ends: what turns the direction of writing could make it look like another. */
const ADDRESS = /https?:\/\/[^\s<>"\u200e\u200f\u202a-\u202e\u2066-\u2069]+/giu;

/** What stands behind an address more often than in it. */
const BEHIND = /[.,;:!?'*_~…。，、；：！？）】》」』”’]/;

const PAIRS = { ")": "(", "]": "[", "}": "{" };

/** So many emoji and nothing else are shown larger; more would fill a phone. */
const MOST_LARGE = 6;

const graphemes = new Intl.Segmenter();
const EMOJI = /^(\p{Emoji_Presentation}|\p{Emoji}\ufe0f|\p{Extended_Pictographic}|\p{Regional_Indicator}{2})/u;

/** A text in parts, in order: `{ text }`, and `{ text, href }` where it is an address of the web. */
export function parts(text) {
  const found = [];
  let end = 0;
  for (const { 0: match, index } of text.matchAll(ADDRESS)) {
    const address = trimmed(match);
    if (!URL.canParse(address)) continue;
    if (index > end) found.push({ text: text.slice(end, index) });
    found.push({ text: address, href: new URL(address).href });
    end = index + address.length;
  }
  if (end < text.length) found.push({ text: text.slice(end) });
  return found;
}

/** Without what belongs to the sentence around it: a full stop, a bracket that was opened before. */
function trimmed(address) {
  const count = {};
  for (const sign of address) count[sign] = (count[sign] ?? 0) + 1;
  let end = address.length;
  for (; end > 0; end--) {
    const last = address[end - 1];
    const closes = last in PAIRS;
    if (closes ? count[last] <= (count[PAIRS[last]] ?? 0) : !BEHIND.test(last)) break;
    count[last]--;
  }
  return address.slice(0, end);
}

/** Whether a text is a few emoji and nothing else. */
export function isEmoji(text) {
  const signs = Array.from(graphemes.segment(text.slice(0, 256)), ({ segment }) => segment).filter((sign) => sign.trim());
  return text.length <= 256 && signs.length > 0 && signs.length <= MOST_LARGE && signs.every((sign) => EMOJI.test(sign));
}

/** Texts of more characters or lines are shown in part at first: one message may have 64 KiB, and be nothing but lines. */
const MOST_CHARACTERS = 2000;
const MOST_LINES = 24;

export const isLong = (text) => text.length > MOST_CHARACTERS || text.split("\n", MOST_LINES + 1).length > MOST_LINES;

/** What a message says: its text, a text itself such as a reaction, or any other body as JSON. */
export function textOf(body) {
  if (typeof body === "string") return body;
  return typeof body?.text === "string" ? body.text : JSON.stringify(body);
}
