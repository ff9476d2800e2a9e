// The parts of the chat page that know no page.

import assert from "node:assert/strict";
import { test } from "node:test";

import { conversation } from "../../client/build/messaging.js";
import { Chat, Watcher } from "../../components/chat/page/chat.js";
import { Room, ROOM } from "../../components/chat/page/room.js";
import { rows } from "../../components/chat/page/rows.js";
import { isEmoji, isLong, parts } from "../../components/chat/page/text.js";
import { Timeline } from "../../components/chat/page/timeline.js";
import en from "../../components/chat/page/words/en.js";
import zh from "../../components/chat/page/words/zh.js";

const MINUTE = 60_000;
const ME = new Set(["me"]);

const message = (offset, properties) => ({
  channel: "lobby",
  offset,
  id: `${offset}`,
  sender: "ann",
  name: "Ann",
  sent_at: offset * MINUTE,
  body: { text: `${offset}` },
  ...properties,
});
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => message(from + at));
const offsets = ({ messages }) => messages.map(({ offset }) => offset);
const lobby = (read) => new Room("lobby", read, conversation("lobby"));
const numbers = (from, to) => range(from, to).map(({ offset }) => offset);

// ---------------------------------------------------------------- texts

const LINKS = {
  "no address": [],
  "https://example.org": ["https://example.org"],
  "see http://example.org/a?b=c#d, and go": ["http://example.org/a?b=c#d"],
  "(https://example.org/a_(b))": ["https://example.org/a_(b)"],
  "“https://example.org/a”…": ["https://example.org/a"],
  "看https://example.org/路径。好": ["https://example.org/路径。好"],
  "看 https://example.org/路径。": ["https://example.org/路径"],
  "https://a.example and HTTPS://B.EXAMPLE/!": ["https://a.example", "HTTPS://B.EXAMPLE/"],
  "<https://example.org>": ["https://example.org"],
  "https://example.org/\u202egro.live": ["https://example.org/"],
  "javascript:alert(1) data:text/html,x ftp://example.org file:///etc": [],
  "xhttps://example.org": ["https://example.org"],
  "https:// http://% https://[": [],
  "https://user:secret@example.org/": ["https://user:secret@example.org/"],
};

test("addresses of the web are found in a text, and nothing else is", () => {
  for (const [text, expected] of Object.entries(LINKS)) {
    const found = parts(text);
    assert.equal(found.map((part) => part.text).join(""), text, "nothing is lost");
    assert.deepEqual(found.filter(({ href }) => href).map((part) => part.text), expected, text);
    for (const { href } of found) assert.match(href ?? "https:", /^https?:/i);
  }
});

test("a text that is all addresses or all brackets is no burden", () => {
  assert.equal(parts(`https://example.org/${")".repeat(65_000)}`)[0].text, "https://example.org/");
  assert.equal(parts("https://a ".repeat(6_500)).length, 13_000);
});

test("a few emoji by themselves are told from a text", () => {
  const cases = {
    "😀": true, "❤️": true, "👋🏽 👩‍👩‍👧": true, "🇨🇳🇫🇷": true, "☕\n☕": true, "🎉🎉🎉🎉🎉🎉": true,
    "": false, " ": false, "1": false, "#*0": false, "a😀": false, "😀!": false, "🎉🎉🎉🎉🎉🎉🎉": false, "中文": false,
  };
  for (const [text, expected] of Object.entries(cases)) assert.equal(isEmoji(text), expected, JSON.stringify(text));
  assert.equal(isEmoji("😀".repeat(60_000)), false);
});

test("a text is long by its characters or its lines", () => {
  const cases = [["a".repeat(2000), false], ["a".repeat(2001), true], ["\n".repeat(23), false], ["\n".repeat(24), true]];
  for (const [text, expected] of cases) assert.equal(isLong(text), expected);
});

test("a room is called what the server calls a channel", () => {
  for (const name of ["lobby", "@staff", "a", "-._~", "A".repeat(64), `@${"a".repeat(63)}`]) assert.ok(ROOM.test(name), name);
  for (const name of ["", "@", "a b", "ä", "a@b", "A".repeat(65), `@${"a".repeat(64)}`, "a\n"]) assert.ok(!ROOM.test(name), name);
});

test("both languages say the same things, with the same members", () => {
  const members = (text) => [...new Set(JSON.stringify(text).match(/\{\w+\}/g))].sort();
  assert.deepEqual(Object.keys(zh).sort(), Object.keys(en).sort());
  for (const [name, text] of Object.entries(en)) assert.deepEqual(members(zh[name]), members(text), name);
  for (const [language, words] of Object.entries({ en, zh })) {
    const { pluralCategories } = new Intl.PluralRules(language).resolvedOptions();
    for (const text of Object.values(words)) {
      if (typeof text === "object") assert.deepEqual(Object.keys(text).sort(), pluralCategories.sort());
    }
  }
});

// ---------------------------------------------------------------- the timeline

test("pages of history and what arrives overlap, and nothing is doubled", () => {
  const orders = [
    [["page", 51, 100], ["live", 99, 103], ["page", 1, 50]],
    [["live", 99, 103], ["page", 51, 100], ["page", 1, 50]],
    [["live", 101, 103], ["page", 51, 103], ["page", 1, 55]],
    [["page", 51, 100], ["page", 1, 50], ["live", 101, 103]],
  ];
  for (const order of orders) {
    const timeline = new Timeline();
    for (const [kind, from, to] of order) {
      const messages = range(from, to);
      if (kind === "page") timeline.addPage({ messages, ...(from > 1 && { before: from }) });
      else for (const one of messages) timeline.add(one);
    }
    assert.deepEqual(offsets(timeline), numbers(1, 103));
    assert.ok(timeline.complete);
  }
});

test("a message is news once", () => {
  const timeline = new Timeline();
  assert.ok(timeline.add(message(2)));
  assert.ok(timeline.add(message(1)));
  assert.ok(!timeline.add(message(2)));
  assert.deepEqual(offsets(timeline), [1, 2]);
});

test("a gap forward leaves what was there, one backward begins anew", () => {
  const timeline = new Timeline();
  timeline.addPage({ messages: range(1, 5) });
  timeline.addGap({ channel: "x", after: 5, resumed: 9 });
  timeline.add(message(10));
  assert.deepEqual(offsets(timeline), [1, 2, 3, 4, 5, 10]);
  timeline.addGap({ channel: "x", after: 10, resumed: 2 });
  assert.deepEqual(offsets(timeline), []);
  assert.equal(timeline.complete, false, "the new room may have a history");
  assert.equal(timeline.era, 1);
});

test("what is trimmed can be had again", () => {
  const timeline = new Timeline();
  timeline.addPage({ messages: range(1, 30) });
  timeline.trim(30);
  assert.ok(timeline.complete);
  timeline.trim(10);
  assert.deepEqual(offsets(timeline), numbers(21, 30));
  assert.ok(!timeline.complete);
  timeline.addPage({ messages: range(1, 20) });
  assert.deepEqual(offsets(timeline), numbers(1, 30));
});

// ---------------------------------------------------------------- rooms

test("who comes for the first time has missed nothing", () => {
  const room = lobby();
  room.hear(message(9), false);
  room.take({ messages: range(1, 8) }, false);
  assert.equal(room.unread(ME), 0);
  assert.equal(room.divider, undefined);
});

test("who comes back finds what was missed, and where it begins", () => {
  const room = lobby(6);
  room.take({ messages: [...range(1, 8), message(9, { sender: "me" })] }, false);
  assert.equal(room.unread(ME), 2, "one's own is not missed");
  assert.equal(room.divider, 6);
  room.see();
  assert.equal(room.unread(ME), 0);
  assert.equal(room.divider, 6, "it stays while one looks");
});

test("what is new is told apart from where one stopped looking", () => {
  const room = lobby();
  room.take({ messages: range(1, 3) }, true);
  room.hear(message(4), true);
  assert.equal(room.divider, undefined);
  room.hear(message(5), false);
  room.hear(message(6), false);
  assert.deepEqual([room.divider, room.unread(ME)], [4, 2]);
  room.see();
  room.hear(message(7), false);
  assert.deepEqual([room.divider, room.unread(ME)], [6, 1]);
});

test("a place in a room that is gone is no place in the new one", () => {
  const room = lobby(40);
  room.take({ messages: range(1, 3) }, false);
  assert.deepEqual([room.read, room.unread(ME)], [3, 0]);
});

test("one's own waits until it comes back, by whichever way", () => {
  const waiting = (id) => ({ id, sender: "me", state: "waiting" });
  const room = lobby();
  room.pending = ["a", "b", "c", "d"].map(waiting);
  room.take({ messages: [message(1, { id: "a", sender: "me" })] }, true);
  room.hear(message(2, { id: "b", sender: "me" }), true);
  room.stored("c", 3);
  assert.deepEqual(room.pending.map(({ id, state }) => [id, state]), [["c", "stored"], ["d", "waiting"]]);
  room.miss({ after: 2, resumed: 3 });
  assert.deepEqual(room.pending.map(({ id }) => id), ["d"], "what is stored in a gap does not come back");
});

/** The conversation over a connection that tells what it is made to. */
function talk(names, watcher) {
  const listeners = new Map();
  const on = (event, listener) => listeners.set(event, [...(listeners.get(event) ?? []), listener]);
  const connection = { on, state: { kind: "connecting" }, unsent: [] };
  const library = { connect: () => connection, conversation, marks() {}, people: () => ({ on() {} }), typing() {} };
  const kept = { read: (_, otherwise) => otherwise, write() {} };
  const chat = new Chat(library, { name: "Me", rooms: names.map((name) => ({ name })) }, kept, watcher);
  return { chat, tell: (event, told) => listeners.get(event).forEach((listener) => listener(told)) };
}

test("a room keeps no more than a phone can bear, unless somebody looks back in it", () => {
  let back = "garden";
  class Looker extends Watcher {
    attends = ({ name }) => name === "lobby";
    looksBack = ({ name }) => name === back;
  }
  const names = ["lobby", "attic", "garden"];
  const { chat, tell } = talk(names, new Looker());
  const known = () => names.map((name) => chat.rooms.get(name).timeline.messages.length);
  const say = (from, to) => {
    for (const one of range(from, to)) for (const channel of names) tell("message", { ...one, channel });
  };
  say(1, 1010);
  assert.deepEqual(known(), [1000, 1000, 1010], "the one that is not looked at as well");
  const { shown, timeline } = chat.rooms.get("attic");
  assert.deepEqual([shown[0].message.offset, shown.length, timeline.oldest], [11, 1000, 11]);
  back = undefined;
  say(1011, 1011);
  assert.deepEqual(known(), [1000, 1000, 1000]);
});

// ---------------------------------------------------------------- rows

const told = (properties, messages) => {
  const room = lobby();
  room.take({ messages }, true);
  Object.assign(room, properties);
  room.talk.take(room.timeline.messages);
  return rows(room, ME, (at) => `day ${Math.floor(at / (24 * 60 * MINUTE))}`);
};
const kinds = (all) => all.map(({ kind, message }) => (kind === "message" ? (message.offset ?? message.id) : kind));

test("messages of one sender stand together until somebody else speaks or time goes by", () => {
  const all = told({}, [
    message(1),
    message(2),
    message(3, { sender: "bob", name: "Bob" }),
    message(4),
    message(5, { sent_at: 9 * MINUTE }),
    message(6, { sent_at: 13 * MINUTE }),
  ]);
  const shown = all.filter(({ kind }) => kind === "message");
  assert.deepEqual(shown.map(({ first }) => first), [true, false, true, true, true, false]);
  assert.deepEqual(shown.map(({ ends }) => ends), [false, true, true, true, false, true]);
});

test("days, gaps and what is new stand between messages, and one's own at the end", () => {
  const day = 24 * 60 * MINUTE;
  const pending = [{ id: "own", sender: "me", name: "Me", sent_at: 2 * day, state: "waiting" }];
  const room = { pending, divider: 9 };
  const timeline = new Timeline();
  timeline.addPage({ messages: [message(1, { sent_at: 0 }), message(2, { sent_at: day })] });
  timeline.addGap({ after: 2, resumed: 8 });
  timeline.addPage({ messages: [message(9, { sent_at: day }), message(10, { sent_at: day })] });
  timeline.addGap({ after: 10, resumed: 11 });
  const all = told({ ...room, timeline }, []);
  assert.deepEqual(kinds(all), ["top", "day", 1, "day", 2, "gap", 9, "new", 10, "gap", "day", "own"]);
  assert.deepEqual(all.filter(({ kind }) => kind === "gap").map(({ count }) => count), [6, 1]);
  assert.equal(new Set(all.map(({ key }) => key)).size, all.length, "each row has a key of its own");
});

test("two who go by one name are told apart, one who is alone with it is not", () => {
  const ann = (offset, sender) => message(offset, { sender, name: "Ann" });
  const tags = (messages) => told({}, messages).filter(({ kind }) => kind === "message").map(({ tag }) => tag);
  assert.deepEqual(tags([ann(1, "guest~aaaa"), ann(2, "guest~bbbb")]), ["aaaa", "bbbb"]);
  assert.deepEqual(tags([ann(1, "guest~aaaa"), message(2, { sender: "guest~bbbb", name: "Bob" })]), ["", ""]);
});

test("a row is drawn again when what is seen of it changes, and not otherwise", () => {
  const versions = (messages) => new Map(told({}, messages).map(({ key, version }) => [key, version]));
  const before = versions(range(1, 3));
  const after = versions(range(1, 4));
  const changed = [...before].filter(([key, version]) => after.get(key) !== version).map(([key]) => key);
  assert.deepEqual(changed, ["message 3"], "which no longer ends its group");
});

test("what becomes of a message is seen, and only its own row is drawn again", () => {
  const about = (offset, kind, target, body) => message(offset, { refers: { kind, offset: target }, body });
  const versions = (all) => new Map(all.map(({ key, version }) => [key, version]));
  const said = [...range(1, 4), message(5, { refers: { kind: "reply", offset: 2 } })];
  const before = versions(told({}, said));
  for (const [more, changed] of [
    [about(6, "edit", 2, { text: "two" }), ["message 2", "message 5"]],
    [about(6, "reaction", 3, "👍"), ["message 3"]],
    [about(6, "delete", 2, null), ["message 5"]],
  ]) {
    const after = versions(told({}, [...said, more]));
    const drawn = [...after].filter(([key, version]) => before.get(key) !== version).map(([key]) => key);
    assert.deepEqual(drawn, changed, more.refers.kind);
  }
});

test("an answer shows what it answers, that it is gone, or that it is not known", () => {
  const reply = (offset, target) => message(offset, { refers: { kind: "reply", offset: target } });
  const gone = message(12, { refers: { kind: "delete", offset: 10 }, body: null });
  const all = told({}, [message(9), message(10), reply(11, 9), gone, reply(13, 10), reply(14, 2)]);
  const answers = all.filter(({ shown }) => shown?.reply);
  assert.deepEqual(answers.map(({ quoted, gone }) => [quoted?.message.offset, gone]), [[9, false], [undefined, true], [undefined, false]]);
});

test("a change of one's own is no message, and what is refused of it is", () => {
  const pending = (state) => [{ id: "own", sender: "me", name: "Me", sent_at: 0, state, refers: { kind: "edit", offset: 1 }, body: {} }];
  assert.deepEqual(kinds(told({ pending: pending("waiting") }, [message(1)])).slice(2), [1]);
  assert.deepEqual(kinds(told({ pending: pending("failed") }, [message(1)])).slice(2), [1, "own"]);
});

test("who has read is at the last message that they have read, where they did not write it", () => {
  const marks = { bob: { read: 3 }, carl: { read: 3 }, me: { read: 4 }, ann: { read: 4 }, dora: { read: 0 }, eve: { read: 99 } };
  const all = told({ people: { marks } }, [...range(1, 3), message(4)]);
  const read = all.filter(({ readers }) => readers?.length).map(({ message, readers }) => [message.offset, readers]);
  assert.deepEqual(read, [[3, ["bob", "carl"]], [4, ["eve"]]]);
});

test("a mark of one's own from elsewhere is how far one has read", () => {
  const room = lobby(1);
  room.take({ messages: range(1, 5) }, false);
  assert.ok(room.meet({ marks: { me: { read: 4, delivered: 5 } } }, ME));
  assert.ok(!room.meet({ marks: { me: { read: 4, delivered: 5 } } }, ME));
  assert.equal(room.unread(ME), 1);
  room.meet({ marks: { me: { read: 2, delivered: 5 } } }, ME);
  assert.equal(room.read, 4, "it does not go back");
});
