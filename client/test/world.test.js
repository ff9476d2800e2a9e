// @ts-check
// The world that the library is proved in, proved by a client that is known to be right, and by all that could be wrong
// with it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Parser } from "./simulation/browser/eventsource.js";
import { MODERN } from "./simulation/browser/environment.js";
import { checkAll, checkClosed, hasHeardAll } from "./simulation/checks.js";
import { fine, rough } from "./simulation/fates.js";
import { NDJSON, htmlfile, jsonp, sse } from "./simulation/framing.js";
import { Page } from "./simulation/page.js";
import { HOSTILE, Person } from "./simulation/person.js";
import { plainClient } from "./simulation/plain-client.js";
import { Random } from "./simulation/random.js";
import { World, inWorld } from "./simulation/world.js";

const MINUTE = 60_000;

/**
 * Two who talk over a bad network.
 *
 * @param {World} world
 * @param {(url: string, options: any) => any} connect
 */
async function talk(world, connect) {
  const { random } = world;
  const people = ["ann", "bob"].map((name) => {
    world.server.admit(name, name);
    const options = { channels: ["lobby"], token: name, history: 1000 };
    return new Person(world, name, connect, { fate: rough(random.fork(), 0.4), options });
  });
  for (let turn = 0; turn < 40; turn++) {
    random.pick(people).publish("lobby").catch(() => {});
    await world.run(random.between(0, 4000));
  }
  for (const { page } of people) page.fate = fine;
  await world.run(5 * MINUTE, () => people.every((one) => !one.connection.unsent.length && hasHeardAll(world, one)));
  await world.run(MINUTE);
  checkAll(world, people);
  for (const person of people) person.close();
  await world.run(0);
  for (const person of people) checkClosed(world, person);
}

test("a client that does no more than it must passes every check", async () => {
  for (let seed = 1; seed <= 50; seed++) await inWorld(seed, (world) => talk(world, plainClient()));
});

/** @type {[import("./simulation/plain-client.js").Flaw, RegExp][]} */
const FLAWS = [
  ["forgets its place", /twice/],
  ["forgets ids", /stored twice/],
  ["drops what fails", /neither stored nor given up/],
  ["sends out of order", /stored behind/],
  ["trusts nothing", /neither stored nor given up/],
  ["keeps a timer", /timers are left/],
  ["hears twice", /twice/],
];

for (const [flaw, violation] of FLAWS) {
  test(`a client that ${flaw} is found out`, async () => {
    /** @type {string[]} */
    const found = [];
    for (let seed = 1; seed <= 5; seed++) {
      await inWorld(seed, (world) => talk(world, plainClient(flaw))).catch(({ message }) => found.push(message));
    }
    assert.match(found.join("\n"), violation);
  });
}

test("an error that nobody catches is found out", async () => {
  const ends = inWorld(1, async (world) => {
    const page = new Page(world, world.browser(), "page", MODERN, /** @type {any} */ (undefined));
    page.setTimeout(() => {
      throw new Error("nobody heard");
    }, 10);
    await world.run(20);
  });
  await assert.rejects(ends, /nobody heard/);
});

test("one seed plays the same twice", async () => {
  const play = async () => {
    /** @type {World | undefined} */
    let played;
    await inWorld(7, async (world) => {
      played = world;
      await talk(world, plainClient());
    });
    return JSON.stringify([played?.server.mailbox.stored, played?.requests.map(({ at, route }) => [at, route])]);
  };
  assert.equal(await play(), await play());
});

test("an event stream means the same wherever it is cut", () => {
  const { prelude, write } = sse(true);
  const frames = [
    { open: true, cursor: "a" },
    ...HOSTILE.map((text) => ({ envelope: { body: text }, cursor: "b" })),
    { heartbeat: true },
    { state: { channel: "lobby", typing: [] } },
    { gap: { channel: "lobby", after: 1, resumed: 2 }, cursor: "c" },
    { end: "reopen" },
  ];
  const text = prelude.slice(-20) + frames.map(write).join("");
  const whole = new Parser("").feed(text);
  assert.deepEqual(whole.map(({ type }) => type), [
    "cursor",
    ...HOSTILE.map(() => "message"),
    "heartbeat",
    "state",
    "gap",
    "end",
  ]);
  // An event without an id has the one before.
  assert.deepEqual(whole.slice(-3).map(({ lastEventId }) => lastEventId), ["b", "c", "c"]);
  for (let cut = 0; cut <= text.length; cut++) {
    const parser = new Parser("");
    assert.deepEqual([...parser.feed(text.slice(0, cut)), ...parser.feed(text.slice(cut))], whole, `cut at ${cut}`);
  }
});

test("hostile bodies come through scripts as they are", () => {
  for (const text of HOSTILE) {
    /** @type {unknown[]} */
    const heard = [];
    new Function("call", jsonp("call", { text }))((/** @type {unknown} */ answer) => heard.push(answer));
    const script = htmlfile("https://chat.example").write({ text });
    const code = /^<script>([^]*)<\/script>\n$/.exec(script)?.[1] ?? "";
    assert(!code.includes("<"), "it would end its script");
    new Function("parent", code)({ postMessage: (/** @type {string} */ data) => heard.push(JSON.parse(data)) });
    assert.deepEqual(heard, [{ text }, { text }]);
    assert.deepEqual(JSON.parse(NDJSON.write({ text })), { text });
  }
});

test("the clock keeps the order of what comes at the same time", async () => {
  const { clock } = new World(1);
  const random = new Random(1);
  /** @type {number[]} */
  const times = [];
  /** @type {string[]} */
  const same = [];
  for (let index = 0; index < 500; index++) clock.after(random.between(0, 300), () => times.push(clock.now));
  for (const name of ["first", "second", "third"]) clock.after(100, () => same.push(name));
  clock.cancel(clock.after(50, () => same.push("cancelled")));
  await clock.run(300);
  assert.equal(times.length, 500);
  assert.deepEqual(times, [...times].sort((one, other) => one - other));
  assert.deepEqual(same, ["first", "second", "third"]);
});

test("between two events every promise settles, however long the chain", async () => {
  const { clock } = new World(1);
  let links = 0;
  clock.after(1, async () => {
    for (; links < 10_000; links++) await null;
  });
  clock.after(1, () => assert.equal(links, 10_000));
  await clock.run(1);
});
