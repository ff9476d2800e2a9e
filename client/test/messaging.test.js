// @ts-check
// What the helpers beside the library make of messages and of people.
import assert from "node:assert/strict";
import { test } from "node:test";
import { conversation, marks, people, typing } from "../build/messaging.js";
import { Random } from "./simulation/random.js";

/** @typedef {import("../build/types.js").Message} Message */
/** @typedef {import("../build/messaging.js").Shown} Shown */

const SEEDS = 400;
const PEOPLE = ["ann", "bob", "carl", "__proto__"];
const REACTIONS = ["👍", "❤️", "constructor", "__proto__", null];

/**
 * A channel's log, as a server lets it become: who edits or deletes may do so, and refers to a message in its own right.
 *
 * @param {Random} random
 */
function log(random, length = random.between(0, 60)) {
  /** @type {Message[]} */
  const all = [];
  for (let offset = 1; offset <= length; offset++) {
    const own = all.filter(({ refers }) => !refers || !/^(edit|delete|reaction)$/.test(refers.kind));
    const target = own.length ? random.pick(own) : undefined;
    const kind = target && random.chance(0.7) ? random.pick(["edit", "edit", "delete", "reaction", "reaction", "reply", "novelty"]) : undefined;
    const authors = kind === "edit" && target ? [target.sender] : PEOPLE;
    const sender = random.pick(authors);
    const body = kind === "delete" ? null : kind === "reaction" ? random.pick(REACTIONS) : { text: `${offset}` };
    const name = random.chance(0.8) ? sender : `${sender}, renamed`;
    const refers = kind && target ? { refers: { kind: /** @type {any} */ (kind), offset: target.offset } } : {};
    all.push({ channel: "lobby", offset, id: `${offset}`, sender, name, sent_at: offset, ...refers, body });
  }
  return all;
}

/**
 * The rules as docs/messaging.md has them, word for word: in the order of the offsets.
 *
 * @param {Iterable<Message>} known
 */
function rules(known) {
  /** @type {Map<number, { message: Message, body: unknown, edited: boolean, reactions: Map<string, string> }>} */
  const shown = new Map();
  for (const e of [...known].sort((one, other) => one.offset - other.offset)) {
    if (!e.refers || !/^(edit|delete|reaction)$/.test(e.refers.kind)) {
      shown.set(e.offset, { message: e, body: e.body, edited: false, reactions: new Map() });
      continue;
    }
    const target = shown.get(e.refers.offset);
    if (!target) continue;
    if (e.refers.kind === "edit") Object.assign(target, { body: e.body, edited: true });
    else if (e.refers.kind === "delete") shown.delete(e.refers.offset);
    else if (e.body === null) target.reactions.delete(e.sender);
    else target.reactions.set(e.sender, /** @type {string} */ (e.body));
  }
  return [...shown.values()].map(({ message, body, edited, reactions }) => ({
    offset: message.offset,
    body,
    edited,
    reactions: [...reactions].map(([sender, reaction]) => `${sender}: ${reaction}`).sort(),
  }));
}

/** @param {Shown[]} shown */
const told = (shown) =>
  shown.map(({ message, body, edited, reactions }) => ({
    offset: message.offset,
    body,
    edited,
    reactions: reactions.flatMap(({ reaction, people }) => people.map(({ sender }) => `${sender}: ${reaction}`)).sort(),
  }));

/**
 * The same messages in pages: some twice, some overlapping, in any order.
 *
 * @param {Random} random
 * @param {Message[]} all
 */
function pages(random, all) {
  const made = [];
  for (let at = 0; at < all.length; ) {
    const length = random.between(1, 12);
    made.push(all.slice(Math.max(0, at - random.between(0, 3)), at + length));
    at += length;
  }
  made.push(...random.some(made, 0.2));
  for (let left = made.length; left > 1; left--) {
    const at = random.between(0, left - 1);
    [made[at], made[left - 1]] = [made[left - 1], made[at]];
  }
  return made.map((page) => (random.chance(0.3) ? [...page].reverse() : page));
}

test("what is shown is the same in whichever order the pages come, and always what follows from those that came", () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const random = new Random(seed);
    const all = log(random);
    const one = conversation("lobby");
    /** @type {Map<number, Message>} */
    const known = new Map();
    for (const page of pages(random, all)) {
      one.take(page);
      for (const message of page) known.set(message.offset, message);
      assert.deepEqual(told(one.shown), rules(known.values()), `seed ${seed}`);
    }
    const other = conversation("lobby");
    other.take(all);
    assert.deepEqual(one.shown, other.shown, `seed ${seed}: in another order`);
    for (const message of all) assert.equal(one.at(message.offset), one.shown.find((two) => two.message === message));
  }
});

test("what is told as changed is what is shown otherwise", () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const random = new Random(seed);
    const one = conversation("lobby");
    const all = log(random);
    const states = () => new Map(all.map(({ offset }) => [offset, JSON.stringify(one.at(offset))]));
    for (const page of pages(random, all)) {
      const before = states();
      const changed = one.take(page);
      const after = states();
      for (const { offset } of all) {
        if (before.get(offset) !== after.get(offset)) assert(changed.includes(offset), `seed ${seed}: ${offset}`);
      }
      assert.deepEqual(one.take(page), [], "told twice");
    }
  }
});

test("what is forgotten is not shown, and is as it was when it comes again", () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const random = new Random(seed);
    const all = log(random);
    const one = conversation("lobby");
    one.take(all);
    const whole = told(one.shown);
    const before = random.between(0, all.length + 1);
    one.forget(before);
    assert.deepEqual(told(one.shown), whole.filter(({ offset }) => offset >= before));
    one.take(all);
    assert.deepEqual(told(one.shown), whole, `seed ${seed}`);
    one.forget();
    assert.deepEqual(one.shown, []);
    one.take(all.slice(0, 3));
    assert.deepEqual(told(one.shown), rules(all.slice(0, 3)));
  }
});

test("a message tells what it answers, what it said, and who makes what of it", () => {
  const message = (/** @type {number} */ offset, /** @type {string} */ sender, /** @type {any} */ body, /** @type {any} */ refers) =>
    ({ channel: "lobby", offset, id: `${offset}`, sender, name: sender.toUpperCase(), sent_at: 0, body, ...(refers && { refers }) });
  const one = conversation("lobby");
  const first = message(1, "ann", "helo", undefined);
  one.take([
    first,
    message(2, "ann", "hello", { kind: "edit", offset: 1 }),
    message(3, "bob", "👍", { kind: "reaction", offset: 1 }),
    message(4, "carl", "🎉", { kind: "reaction", offset: 1 }),
    message(5, "ann", "👍", { kind: "reaction", offset: 1 }),
    message(6, "bob", "🎉", { kind: "reaction", offset: 1 }),
    message(7, "carl", null, { kind: "reaction", offset: 1 }),
    message(8, "bob", "hi", { kind: "reply", offset: 1 }),
    { ...message(9, "bob", "elsewhere", undefined), channel: "attic" },
  ]);
  assert.deepEqual(one.shown, [
    {
      message: first,
      body: "hello",
      edited: true,
      reactions: [
        { reaction: "👍", people: [{ sender: "ann", name: "ANN" }] },
        { reaction: "🎉", people: [{ sender: "bob", name: "BOB" }] },
      ],
    },
    { message: message(8, "bob", "hi", { kind: "reply", offset: 1 }), body: "hi", edited: false, reactions: [], reply: 1 },
  ]);
  assert.deepEqual([one.isDeleted(1), one.at(3)], [false, undefined]);
  assert.deepEqual(one.take([message(10, "ann", null, { kind: "delete", offset: 1 })]), [1]);
  assert.deepEqual([one.isDeleted(1), one.at(1), one.shown.length], [true, undefined, 1]);
});

/** A connection that tells what it is told to. */
function teller() {
  /** @type {any} */
  let hear;
  const connection = {
    channels: ["lobby"],
    on: (/** @type {string} */ _event, /** @type {any} */ listener) => {
      hear = listener;
      return () => (hear = () => {});
    },
  };
  return { connection: /** @type {any} */ (connection), tell: (/** @type {any} */ told) => hear(told) };
}

const person = (/** @type {string} */ sender, name = sender) => ({ sender, name });

/** @param {import("../build/messaging.js").People} all */
function listen(all) {
  /** @type {string[]} */
  const told = [];
  all.on("joined", ({ channel, sender, name }) => told.push(`${channel}: ${sender} (${name}) joined`));
  all.on("left", ({ channel, sender, name }) => told.push(`${channel}: ${sender} (${name}) left`));
  return told;
}

test("who is here follows from a whole state and what changes it, whatever that is", () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const random = new Random(seed);
    const { connection, tell } = teller();
    const all = people(connection);
    /** @type {Map<string, string>} */
    const here = new Map();
    /** @type {Record<string, any>} */
    const marks = Object.create(null);
    const count = () => here.size;
    const list = () => [...here].map(([sender, name]) => ({ sender, name })).sort((one, other) => (one.sender < other.sender ? -1 : 1));
    let typing = /** @type {object[]} */ ([]);
    tell({ channel: "lobby", joined: [person("early")], count: 9 });
    assert.equal(all.of("lobby"), undefined, "a change of what is not known");
    tell({ channel: "lobby", count: 0, here: [], typing: [], marks: {} });
    const events = listen(all);
    /** @type {Map<string, number>} */
    const balance = new Map();
    for (let step = 0; step < 40; step++) {
      const sender = random.pick(PEOPLE);
      if (random.chance(0.4)) {
        here.set(sender, random.pick(["Ann", "Bob"]));
        tell({ channel: "lobby", joined: [person(sender, here.get(sender))], count: count() });
      } else if (random.chance(0.4)) {
        here.delete(sender);
        tell({ channel: "lobby", left: [person(sender)], count: count() });
      } else if (random.chance(0.4)) {
        typing = random.some(list());
        tell({ channel: "lobby", typing });
      } else if (random.chance(0.4)) {
        marks[sender] = { read: step, delivered: step };
        tell({ channel: "lobby", marks: Object.fromEntries([[sender, marks[sender]]]) });
      } else {
        // What happened meanwhile was not told.
        if (random.chance(0.5)) here.delete(sender);
        tell({ channel: "lobby", count: count(), here: list(), typing, marks: { ...marks } });
      }
      const room = all.of("lobby");
      assert.deepEqual([room?.here, room?.count, room?.typing], [list(), count(), typing], `seed ${seed}`);
      assert.deepEqual({ ...room?.marks }, { ...marks });
      for (const event of events.splice(0)) {
        const [, who, what] = /: (\S+) .*(joined|left)$/.exec(event) ?? [];
        const by = (balance.get(who) ?? 0) + (what === "joined" ? 1 : -1);
        assert(by === 0 || by === 1, `seed ${seed}: ${event}, again`);
        balance.set(who, by);
      }
      for (const sender of PEOPLE) assert.equal(balance.get(sender) ?? 0, here.has(sender) ? 1 : 0);
    }
  }
});

test("who is here when one comes oneself, who is called otherwise, and a list that is cut are told as no coming", () => {
  const { connection, tell } = teller();
  const all = people(connection);
  const events = listen(all);
  /** @type {any[]} */
  const rooms = [];
  const off = all.on("changed", ({ here, count }) => rooms.push([here.length, count]));
  tell({ channel: "lobby", count: 2, here: [person("ann"), person("bob")], typing: [], marks: {} });
  tell({ channel: "lobby", count: 2, joined: [person("ann", "Anna")] });
  tell({ channel: "lobby", count: 5, here: [person("ann", "Anna"), person("carl")], typing: [], marks: {} });
  assert.deepEqual([events, rooms], [[], [[2, 2], [2, 2], [2, 5]]]);
  off();
  tell({ channel: "lobby", count: 6, joined: [person("dora")] });
  assert.deepEqual([events, rooms.length], [["lobby: dora (dora) joined"], 3]);
  all.close();
  tell({ channel: "lobby", count: 0, left: [person("dora")] });
  assert.equal(all.of("lobby")?.count, 6);
  connection.channels = [];
  assert.equal(all.of("lobby"), undefined, "it is not followed");
});

test("typing is told every three seconds at most, and taken back only where it was told", () => {
  /** @type {any[]} */
  const done = [];
  let now = 10_000;
  const { typed, over, sent } = typing({ perform: (command) => (done.push([now, command]), Promise.reject(new Error("away"))) }, () => now);
  for (; now < 17_000; now += 100) typed("lobby");
  const told = { typing: { channel: "lobby" } };
  assert.deepEqual(done.splice(0), [[10_000, told], [13_000, told], [16_000, told]]);
  over("lobby");
  over("lobby");
  over("attic");
  assert.deepEqual(done.splice(0), [[17_000, { typing: { channel: "lobby", over: true } }]]);
  typed("lobby");
  now += 7000;
  over("lobby");
  assert.deepEqual(done.splice(0), [[17_000, told]], "it lapsed by itself");
  typed("lobby");
  sent("lobby");
  over("lobby");
  typed("lobby");
  assert.deepEqual(done, [[24_000, told], [24_000, told]], "a message ends it");
});

test("the furthest mark of each channel is told, one at a time, and again where it was not taken", async () => {
  /** @type {{ command: any, resolve: (answer: any) => void, reject: (error: Error) => void }[]} */
  const asked = [];
  const { read } = marks({ perform: (command) => new Promise((resolve, reject) => asked.push({ command, resolve, reject })) });
  const told = () => asked.map(({ command }) => `${command.read.channel} ${command.read.offset}`);
  for (const offset of [1, 5, 3]) read("lobby", offset);
  read("attic", 2);
  assert.deepEqual(told(), ["lobby 1", "attic 2"]);
  asked[0].resolve({});
  await null;
  await null;
  assert.deepEqual(told(), ["lobby 1", "attic 2", "lobby 5"]);
  asked[2].reject(new Error("away"));
  await null;
  await null;
  read("lobby", 4);
  assert.deepEqual(told().slice(3), ["lobby 5"]);
  asked[3].resolve({});
  await null;
  await null;
  read("lobby", 5);
  assert.equal(asked.length, 4);
});
