// @ts-check
// Who is here, who is typing, and who has read how far.
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../build/index.js";
import { MODERN } from "./simulation/browser/environment.js";
import { checkAll, seesAll } from "./simulation/checks.js";
import { blocking, fine } from "./simulation/fates.js";
import { Person } from "./simulation/person.js";
import { TRANSPORTS } from "./simulation/scenario.js";
import { inWorld } from "./simulation/world.js";

/** @typedef {import("./simulation/world.js").World} World */
/** @typedef {ConstructorParameters<typeof Person>[3]} How */

const MINUTE = 60_000;

/** How soon a change is seen, in milliseconds: what polls asks every second. */
const SOON = 1500;

/**
 * Somebody who is seen, and sees.
 *
 * @param {World} world
 * @param {string} name
 * @param {How} how
 */
function visible(world, name, how = {}) {
  world.server.admit(name, name);
  const options = { channels: ["lobby"], token: name, presence: true, ...how.options };
  return new Person(world, name, connect, { account: name, ...how, options });
}

/** @param {Person} person */
const here = ({ seen }, channel = "lobby") => [...(seen.get(channel)?.here.keys() ?? [])].sort();

/** @param {Person} person */
const typing = ({ seen }, channel = "lobby") => (seen.get(channel)?.typing ?? []).map(({ name }) => name);

for (const transport of TRANSPORTS) {
  test(`who comes, types, reads and goes is seen by ${transport}`, async () => {
    await inWorld(1, async (world) => {
      const ann = visible(world, "ann", { options: { transports: [transport] } });
      await world.run(MINUTE, () => ann.live);
      await world.run(SOON);
      assert.deepEqual(here(ann), ["ann"]);
      const bob = visible(world, "bob");
      assert(await world.run(SOON, () => here(ann).length === 2), "not seen to come");
      bob.publish("lobby").catch(() => {});
      bob.perform({ typing: { channel: "lobby" } });
      assert(await world.run(SOON, () => typing(ann).join() === "bob"), "not seen to type");
      bob.perform({ typing: { channel: "lobby", over: true } });
      assert(await world.run(SOON, () => !typing(ann).length), "still seen to type");
      bob.perform({ typing: { channel: "lobby" } });
      bob.perform({ read: { channel: "lobby", offset: 1 } });
      const read = { bob: { read: 1, delivered: 1 } };
      await world.run(SOON);
      assert.deepEqual(ann.seen.get("lobby")?.marks, read);
      assert(await world.run(6000 + SOON, () => !typing(ann).length), "seen to type for ever");
      world.server.lag();
      await world.run(SOON);
      assert.deepEqual([here(ann), ann.seen.get("lobby")?.marks], [["ann", "bob"], read], "after a whole state");
      bob.close();
      assert(await world.run(6000 + SOON, () => here(ann).length === 1), "not seen to go");
      checkAll(world, [ann, bob]);
    });
  });
}

test("a change of transport, and a reload, are not seen by others, and what changed meanwhile is", async () => {
  for (const transport of TRANSPORTS.slice(1)) {
    await inWorld(1, async (world) => {
      const ann = visible(world, "ann");
      const bob = visible(world, "bob", { keeps: true });
      await world.run(MINUTE, () => ann.live && bob.live);
      await world.run(SOON);
      /** @type {string[]} */
      const told = [];
      ann.connection.on("presence", ({ joined = [], left = [] }) => {
        for (const { sender } of [...joined, ...left]) if (sender === "bob") told.push(sender);
      });
      const blocked = Object.fromEntries(TRANSPORTS.filter((one) => one !== transport).map((one) => [one, /** @type {const} */ ("refuse")]));
      bob.page.fate = bob.fate = blocking(blocked);
      bob.page.wires.forEach((wire) => wire.break());
      const carl = visible(world, "carl");
      assert(await world.run(6000, () => bob.transport === transport && here(bob).length === 3), `${transport}: ${here(bob)}`);
      bob.load();
      assert(await world.run(6000, () => bob.live));
      bob.page.fate = bob.fate = fine;
      bob.page.wires.forEach((wire) => wire.break());
      await world.run(MINUTE);
      assert.deepEqual(told, [], transport);
      checkAll(world, [ann, bob, carl]);
    });
  }
});

test("a page that vanishes without a word is gone for the others when the server notices, and seen again when it wakes", async () => {
  for (const transport of TRANSPORTS) {
    await inWorld(1, async (world) => {
      const ann = visible(world, "ann");
      const bob = visible(world, "bob", { options: { transports: [transport] } });
      await world.run(MINUTE, () => ann.live && bob.live);
      bob.page.sleep();
      assert(await world.run(2 * MINUTE, () => here(ann).join() === "ann"), transport);
      bob.page.wake(true);
      assert(await world.run(30_000, () => here(ann).length === 2 && seesAll(world, bob)), transport);
      checkAll(world, [ann, bob]);
    });
  }
});

test("nothing is told of channels that were left, and all of those that are entered", async () => {
  for (const transport of TRANSPORTS) {
    await inWorld(1, async (world) => {
      const ann = visible(world, "ann", { options: { transports: [transport] } });
      const bob = visible(world, "bob", { options: { channels: ["lobby", "attic"] } });
      await world.run(MINUTE, () => ann.live && bob.live);
      for (let round = 0; round < 4; round++) {
        ann.subscribe("attic");
        assert(await world.run(2 * SOON, () => here(ann, "attic").join() === "ann,bob"), `${transport}: ${here(ann, "attic")}`);
        ann.unsubscribe("attic");
        bob.perform({ typing: { channel: "attic" } });
        await world.run(7000);
        assert.deepEqual(here(bob, "attic"), ["bob"], transport);
      }
      // Left and entered at once.
      ann.subscribe("attic");
      ann.unsubscribe("attic");
      ann.subscribe("attic");
      await world.run(2 * SOON);
      checkAll(world, [ann, bob]);
    });
  }
});

test("whoever asks for no one's presence is not seen, and is told of nobody", async () => {
  for (const transport of TRANSPORTS) {
    await inWorld(1, async (world) => {
      const ann = visible(world, "ann");
      const bob = visible(world, "bob", { options: { presence: false, transports: [transport] } });
      const nobody = new Person(world, "nobody", connect, {
        options: { channels: ["lobby"], presence: true, transports: [transport] },
      });
      await world.run(MINUTE, () => ann.live && bob.live && nobody.live);
      await world.run(SOON);
      assert.deepEqual([here(ann), here(bob), here(nobody)], [["ann"], [], ["ann"]], transport);
      checkAll(world, [ann, bob, nobody]);
    });
  }
});

test("a guest who was forgotten is seen as who they are now", async () => {
  for (const transport of TRANSPORTS) {
    await inWorld(1, async (world) => {
      const ann = visible(world, "ann");
      const options = { channels: ["lobby"], guest: "Bob", presence: true, transports: [transport] };
      const bob = new Person(world, "bob", connect, { options });
      await world.run(MINUTE, () => ann.live && bob.live);
      world.server.forgetGuests();
      bob.publish("lobby").catch(() => {});
      await world.run(MINUTE);
      assert.deepEqual(here(ann), ["ann", "guest~2"], transport);
      checkAll(world, [ann, bob]);
    });
  }
});

/**
 * Tabs of one browser with one token, and somebody else.
 *
 * @param {World} world
 * @param {import("../build/types.js").Options[]} tabs
 */
async function open(world, tabs, features = MODERN) {
  const browser = world.browser();
  const other = visible(world, "bob", { options: { channels: ["lobby", "attic"] } });
  const own = [];
  for (const options of tabs) {
    own.push(visible(world, "ann", { browser, features, options }));
    // One comes after the other.
    await world.run(2000);
  }
  assert(own.every(({ live }) => live));
  return { other, tabs: own };
}

for (const webSocket of [true, false]) {
  const by = webSocket ? "a WebSocket" : "a stream";

  test(`tabs that share ${by} see the same, those that come later too, and when the first is gone`, async () => {
    await inWorld(1, async (world) => {
      const { other, tabs } = await open(world, [{}, { channels: ["attic", "lobby"] }, {}], { ...MODERN, webSocket });
      assert.equal(world.server.open.size, 2, "they do not share");
      const all = () => tabs.every((tab) => seesAll(world, tab));
      assert(all());
      other.perform({ typing: { channel: "lobby" } });
      assert(await world.run(500, () => tabs.every((tab) => typing(tab).join() === "bob")));
      const carl = visible(world, "carl", { options: { channels: ["attic"] } });
      assert(await world.run(500, () => here(tabs[1], "attic").join() === "ann,bob,carl"));
      await world.run(7000);
      tabs.shift()?.close();
      await world.run(2000);
      other.unsubscribe("lobby");
      carl.close();
      await world.run(10_000);
      checkAll(world, [other, ...tabs]);
      assert.deepEqual(here(tabs[0], "attic"), ["ann", "bob"]);
    });
  });

  test(`the tab that keeps ${by} sees who is in a channel that another tab followed before it`, async () => {
    await inWorld(1, async (world) => {
      const { other, tabs } = await open(world, [{}, { channels: ["attic"] }], { ...MODERN, webSocket });
      for (const tab of tabs) {
        for (const channel of ["attic", "lobby"]) {
          tab.subscribe(channel);
          assert(await world.run(500, () => here(tab, channel).join() === "ann,bob"), `${tab.name}: ${here(tab, channel)}`);
        }
      }
      assert.equal(world.server.open.size, 2, "they do not share");
      checkAll(world, [other, ...tabs]);
    });
  });
}

test("a tab that is not to be seen has no part in the connection of one that is", async () => {
  await inWorld(1, async (world) => {
    const { other, tabs } = await open(world, [{ presence: false }, {}, { presence: false, channels: ["attic"] }]);
    assert.equal(world.server.open.size, 3);
    assert.deepEqual([here(other), here(other, "attic")], [["ann", "bob"], ["bob"]]);
    checkAll(world, [other, ...tabs]);
  });
});
