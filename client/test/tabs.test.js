// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../build/index.js";
import { MODERN } from "./simulation/browser/environment.js";
import { checkAll, checkClosed, hasHeardAll } from "./simulation/checks.js";
import { BLOCKS, fine } from "./simulation/fates.js";
import { Person } from "./simulation/person.js";
import { Refused } from "./simulation/server.js";
import { inWorld } from "./simulation/world.js";

/** @typedef {import("./simulation/world.js").World} World */

const MINUTE = 60_000;

/**
 * Some tabs of one browser, with the same token, and somebody who talks.
 *
 * @param {World} world
 * @param {string[][]} channels What each tab follows.
 */
async function open(world, channels, features = MODERN) {
  world.server.admit("token", "ann");
  const speaker = new Person(world, "speaker", connect, { options: { guest: "Bob" } });
  const browser = world.browser();
  const tabs = channels.map(
    (own, index) => new Person(world, `tab${index}`, connect, { browser, features, options: { token: "token", channels: own } }),
  );
  assert(await world.run(MINUTE, () => tabs.every(({ live }) => live)), "not all are live");
  return { browser, speaker, tabs };
}

/**
 * @param {World} world
 * @param {Person} speaker
 */
async function say(world, speaker, channels = ["lobby", "attic", "lobby"]) {
  for (const channel of channels) speaker.publish(channel).catch(() => {});
  await world.run(2000);
}

/** @param {World} world */
const streams = ({ server }) => server.open.size;

test("tabs with the same token share one connection, and each hears what it follows", async () => {
  await inWorld(1, async (world) => {
    const { speaker, tabs } = await open(world, [["lobby"], ["attic", "lobby"], ["attic"]]);
    await world.run(2000);
    assert.equal(streams(world), 1);
    await say(world, speaker);
    assert.deepEqual(tabs.map(({ followings }) => followings.map(({ told }) => told.length)), [[2], [1, 2], [1]]);
    assert(tabs.every(({ transport }) => transport === "websocket"));
    checkAll(world, [speaker, ...tabs]);
  });
});

/**
 * What becomes of a tab, and how long the others may take to hear all there is: one that stands still says nothing.
 *
 * @type {[string, (tab: Person) => void, number][]}
 */
const ENDS = [
  ["is closed", (tab) => tab.page.end(), 5_000],
  ["closes its connection", (tab) => tab.close(), 5_000],
  ["is loaded again", (tab) => tab.load(), 5_000],
  ["is left for another page", (tab) => tab.page.leave(), 5_000],
  ["follows nothing any more", (tab) => tab.followings.forEach(({ channel }) => tab.unsubscribe(channel)), 5_000],
  ["stands still", (tab) => tab.page.sleep(), MINUTE],
];

for (const [what, end, patience] of ENDS) {
  test(`the others go on without loss when the tab that keeps the connection ${what}`, async () => {
    for (let victim = 0; victim < 3; victim++) {
      // At any point of a conversation.
      for (let seed = 1; seed <= 12; seed++) {
        await inWorld(seed, async (world) => {
          const all = ["lobby", "attic", "garden"];
          const channels = all.map((channel) => [...new Set([channel, ...world.random.some(all)])]);
          const { speaker, tabs } = await open(world, channels);
          for (let turn = 0; turn < 60; turn++) {
            if (turn === 20) end(tabs[victim]);
            speaker.publish(world.random.pick(all)).catch(() => {});
            await world.run(world.random.between(0, 3 * seed));
          }
          const others = [speaker, ...tabs.filter((_, index) => index !== victim)];
          assert(await world.run(patience, () => others.every((one) => hasHeardAll(world, one))), "not all is heard");
          await world.run(MINUTE);
          checkAll(world, others);
        });
      }
    }
  });
}

test("each tab's messages are sent by itself, and heard by all", async () => {
  await inWorld(1, async (world) => {
    const { tabs } = await open(world, [["lobby"], ["lobby"], ["lobby"]]);
    for (let turn = 0; turn < 30; turn++) {
      tabs[turn % 3].publish("lobby").catch(() => {});
      await world.run(turn);
    }
    await world.run(MINUTE);
    checkAll(world, tabs);
  });
});

test("a tab that follows another channel hears it by the connection that there is", async () => {
  await inWorld(1, async (world) => {
    const { speaker, tabs } = await open(world, [["lobby"], ["lobby"]]);
    await say(world, speaker);
    for (const tab of tabs) {
      tab.subscribe("garden");
      await say(world, speaker, ["garden", "lobby", "garden"]);
      tab.unsubscribe("lobby");
      await say(world, speaker, ["garden", "lobby", "garden"]);
      tab.subscribe("lobby");
      await say(world, speaker, ["garden", "lobby", "garden"]);
    }
    assert.equal(streams(world), 1);
    await world.run(MINUTE);
    checkAll(world, [speaker, ...tabs]);
  });
});

test("tabs of different tokens, and such as will not share, keep connections of their own", async () => {
  await inWorld(1, async (world) => {
    const browser = world.browser();
    for (const token of ["ann", "bob"]) world.server.admit(token, token);
    const tabs = [{ token: "ann" }, { token: "bob" }, { token: "ann", share: false }].map(
      (options, index) => new Person(world, `tab${index}`, connect, { browser, options: { ...options, channels: ["lobby"] } }),
    );
    await world.run(5000);
    assert.equal(streams(world), 3);
    tabs[0].publish("lobby").catch(() => {});
    await world.run(5000);
    checkAll(world, tabs);
  });
});

test("a token is said to no other tab, and is not kept", async () => {
  await inWorld(1, async (world) => {
    const { browser, speaker, tabs } = await open(world, [["lobby"], ["lobby"]]);
    await say(world, speaker);
    const kept = Array.from({ length: browser.localStorage.length }, (_, index) =>
      browser.localStorage.getItem(browser.localStorage.key(index) ?? ""),
    );
    assert(!kept.join().includes("token"));
    for (const tab of tabs) {
      tab.close();
      await world.run(1000);
      checkClosed(world, tab);
    }
    assert.equal(streams(world), 0);
  });
});

test("six tabs of a browser that asks six things at a time still send and hear", async () => {
  await inWorld(1, async (world) => {
    const { tabs } = await open(world, Array.from({ length: 6 }, () => ["lobby"]));
    for (const { page } of tabs) page.fate = ({ transport }) => (transport === "websocket" ? { ...fine(), kind: "refused" } : fine());
    tabs.forEach(({ page }) => page.wires.forEach((wire) => wire.break()));
    await world.run(5000);
    for (const tab of tabs) tab.publish("lobby").catch(() => {});
    assert(await world.run(10_000, () => tabs.every((tab) => !tab.connection.unsent.length && hasHeardAll(world, tab))));
    checkAll(world, tabs);
  });
});

test("a tab that follows something as soon as it connects begins once, and goes on when the first one is gone", async () => {
  for (const end of /** @type {((tab: Person) => void)[]} */ ([(tab) => tab.close(), (tab) => tab.page.end()])) {
    await inWorld(1, async (world) => {
      const { browser, speaker, tabs } = await open(world, [["lobby"]]);
      const second = new Person(world, "second", connect, { browser, options: { token: async () => "token" } });
      second.subscribe("lobby");
      assert(await world.run(5000, () => second.live));
      assert.equal(streams(world), 1);
      second.subscribe("attic");
      await world.run(2000);
      assert.equal(streams(world), 1);
      end(tabs[0]);
      await world.run(2000);
      await say(world, speaker);
      assert(second.live);
      assert.deepEqual(second.followings.map(({ told }) => told.length), [2, 1]);
      checkAll(world, [speaker, second]);
    });
  }
});

test("what is followed as soon as it is connected is asked for once where tabs cannot share", async () => {
  await inWorld(1, async (world) => {
    world.server.admit("token", "ann");
    const options = { token: async () => "token" };
    const one = new Person(world, "one", connect, { features: { ...MODERN, tabs: false }, options });
    one.subscribe("lobby");
    one.subscribe("attic");
    await world.run(5000);
    assert(one.live);
    assert.equal(world.requests.filter(({ route }) => route === "websocket").length, 1);
  });
});

test("a page that may store nothing connects by itself", async () => {
  for (const as of [{ token: "token" }, { token: async () => "token" }, { guest: "Ann" }]) {
    await inWorld(1, async (world) => {
      world.server.admit("token", "ann");
      const options = { ...as, channels: ["lobby"] };
      const one = new Person(world, "one", connect, { features: { ...MODERN, tabs: "denied" }, options });
      one.publish("lobby").catch(() => {});
      await world.run(5000);
      assert(one.live, JSON.stringify(Object.keys(as)));
      assert.equal(one.connection.unsent.length, 0);
      assert.equal(streams(world), 1);
      checkAll(world, [one]);
      one.close();
      await world.run(MINUTE);
      checkClosed(world, one);
    });
  }
});

for (const webSocket of [true, false]) {
  const by = webSocket ? "a WebSocket" : "a stream";

  test(`a tab that may not follow one more channel is told so, and hears the others by ${by} as before`, async () => {
    await inWorld(1, async (world) => {
      const { speaker, tabs } = await open(world, [["lobby"], ["lobby"]], { ...MODERN, webSocket });
      world.server.forbid("attic");
      for (const tab of tabs) {
        /** @type {string[]} */
        const denied = [];
        tab.connection.on("denied", ({ channel, error }) => denied.push(`${channel} ${error}`));
        tab.subscribe("attic");
        assert(await world.run(2000, () => denied.length > 0), `${tab.name} is not told`);
        await say(world, speaker, ["lobby"]);
        assert.deepEqual(denied, ["attic forbidden"]);
        assert(tabs.every((one) => hasHeardAll(world, one)), `after ${tab.name}`);
      }
      assert.equal(streams(world), 1);
      checkAll(world, [speaker, ...tabs]);
    });
  });
}

test("a tab hears what it follows while the server cannot let it follow one more channel", async () => {
  await inWorld(1, async (world) => {
    const { speaker, tabs } = await open(world, [["lobby"], ["lobby"]]);
    world.server.trouble = ({ route }) =>
      route === "websocket-subscribe" ? { refused: new Refused("unavailable", "not now", 20) } : undefined;
    tabs[1].subscribe("attic");
    for (let turn = 0; turn < 5; turn++) {
      await say(world, speaker, ["lobby"]);
      assert.equal(tabs[1].followings[0].told.length, turn + 1);
    }
    world.server.trouble = () => undefined;
    await world.run(MINUTE);
    await say(world, speaker);
    assert.equal(streams(world), 1);
    assert.deepEqual(tabs[1].followings.map(({ told }) => told.length), [7, 1]);
    checkAll(world, [speaker, ...tabs]);
  });
});

test("a tab that was told of a gap is told of it once, also when it keeps the connection later", async () => {
  await inWorld(1, async (world) => {
    const { browser, speaker, tabs } = await open(world, [["lobby"]]);
    const second = new Person(world, "second", connect, {
      browser,
      keeps: true,
      options: { token: "token", channels: ["lobby"] },
    });
    await world.run(2000);
    await say(world, speaker, ["lobby", "lobby"]);
    second.page.sleep();
    await say(world, speaker, Array(5).fill("lobby"));
    world.server.mailbox.trim("lobby", 2);
    second.load();
    assert(await world.run(5000, () => second.live));
    await say(world, speaker, ["lobby", "lobby", "lobby"]);
    world.server.mailbox.trim("lobby", 1);
    tabs[0].close();
    await world.run(5000);
    await say(world, speaker, ["lobby"]);
    const told = second.followings.flatMap(({ told }) => told.map((one) => ("message" in one ? one.message.offset : one.gap)));
    assert.deepEqual(told, [1, 2, { channel: "lobby", after: 2, resumed: 5 }, 6, 7, 8, 9, 10, 11]);
  });
});

test("the tab that keeps the connection is told of no gap in what others follow", async () => {
  await inWorld(1, async (world) => {
    const { speaker, tabs } = await open(world, [["lobby"], ["attic"]]);
    await say(world, speaker);
    let refusals = 1;
    world.server.trouble = ({ query }) =>
      query?.has("after") && refusals-- > 0 ? { refused: new Refused("invalid-request", "cursor: not one of this server's") } : undefined;
    tabs[0].page.wires.forEach((wire) => wire.break());
    await world.run(5000);
    await say(world, speaker);
    const gaps = tabs.map(({ followings: [{ told }] }) => told.filter((one) => "gap" in one).length);
    assert.deepEqual(gaps, [1, 0]);
    assert(tabs.every((tab) => hasHeardAll(world, tab)));
  });
});

test("tabs that were without a server for long share one connection again", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    await inWorld(seed, async (world) => {
      const all = ["lobby", "attic", "garden"];
      const { speaker, tabs } = await open(world, [["lobby"], ["attic", "lobby"], ["lobby", "garden"]]);
      await world.run(2000);
      assert.equal(streams(world), 1);
      for (const { page } of tabs) {
        page.online = false;
        page.wires.forEach((wire) => wire.break());
      }
      await world.run(2 * MINUTE);
      for (const { page } of tabs) page.online = true;
      for (let turn = 0; turn < 200; turn++) {
        speaker.publish(world.random.pick(all)).catch(() => {});
        await world.run(2000);
      }
      assert.equal(streams(world), 1);
      assert(tabs.every(({ live }) => live));
      tabs[seed % 3].subscribe("cellar");
      await say(world, speaker, ["cellar", ...all]);
      assert.equal(streams(world), 1);
      // Who begins anew shares from the beginning.
      tabs[1].unsubscribe("attic");
      tabs[1].unsubscribe("lobby");
      await world.run(2000);
      tabs[1].subscribe("attic");
      await say(world, speaker, all);
      assert.equal(streams(world), 1);
      checkAll(world, [speaker, ...tabs]);
    });
  }
});

test("a tab that could not fetch what it missed shares the connection again", async () => {
  await inWorld(1, async (world) => {
    const { browser, speaker, tabs } = await open(world, [["lobby"]]);
    let refused = 0;
    const second = new Person(world, "second", connect, {
      browser,
      // What it fetches when it has met the first one.
      fate: ({ transport }) => (/^(short|jsonp)/.test(transport) && refused++ < 2 ? BLOCKS.refuse() : fine()),
      options: { token: "token", channels: ["lobby"] },
    });
    await world.run(10_000);
    await say(world, speaker);
    assert.deepEqual([refused, streams(world)], [2, 2]);
    // What it begins with meanwhile it hears at once.
    second.subscribe("attic");
    await say(world, speaker);
    assert.equal(second.followings[1].told.length, 1);
    await world.run(2 * MINUTE);
    assert.equal(streams(world), 1);
    await say(world, speaker);
    checkAll(world, [speaker, second, ...tabs]);
  });
});

test("a tab in which nothing gets through is no hindrance to the others", async () => {
  await inWorld(1, async (world) => {
    const { browser, speaker, tabs } = await open(world, [["lobby"]]);
    const { page } = tabs[0];
    page.fate = BLOCKS.refuse;
    page.wires.forEach((wire) => wire.break());
    await world.run(5000);
    const other = new Person(world, "other", connect, { browser, options: { token: "token", channels: ["lobby"] } });
    assert(await world.run(5000, () => other.live));
    // At any point, also of the moments in which it looks for the others.
    for (let turn = 0; turn < 300; turn++) {
      if (turn) other.unsubscribe("attic");
      other.subscribe("attic");
      await world.run(300);
      speaker.publish("lobby").catch(() => {});
      speaker.publish("attic").catch(() => {});
      await world.run(1000);
      assert(other.live);
      assert.deepEqual([other.followings[0].told.length, other.followings.at(-1)?.told.length], [turn + 1, 1]);
    }
    checkAll(world, [speaker, other]);
  });
});
