// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../build/index.js";
import { MODERN } from "./simulation/browser/environment.js";
import { checkAll } from "./simulation/checks.js";
import { fine } from "./simulation/fates.js";
import { Person } from "./simulation/person.js";
import { TRANSPORTS } from "./simulation/scenario.js";
import { Refused } from "./simulation/server.js";
import { inWorld } from "./simulation/world.js";

/** @typedef {import("./simulation/world.js").World} World */
/** @typedef {ConstructorParameters<typeof Person>[3]} How */

const MINUTE = 60_000;

/**
 * @param {World} world
 * @param {How} how
 */
const bob = (world, how = {}) =>
  new Person(world, "bob", connect, { ...how, options: { channels: ["lobby"], guest: "Bob", ...how.options } });

/** Somebody who only talks. @param {World} world */
const ann = (world) => new Person(world, "ann", connect, { options: { guest: "Ann" } });

/**
 * @param {World} world
 * @param {Person} person
 */
async function say(world, person, count = 1, channel = "lobby") {
  for (let number = 0; number < count; number++) person.publish(channel).catch(() => {});
  await world.run(MINUTE, () => !person.connection.unsent.length);
}

/** @param {Person} person */
const heard = (person) => person.followings.flatMap(({ told }) => told.map((one) => ("message" in one ? one.message.offset : one.gap)));

/** What is cut within: characters of one to four bytes, and what a framing escapes. */
const TEXTS = ["</script>\u2028'", "\u00e9\u6f22\ud83d\ude00"];

/** How long a stream is that tells of it, in bytes, and of one more. */
const LONG = 3100;

for (const transport of TRANSPORTS) {
  for (const how of /** @type {const} */ (["fail", "end", "silence"])) {
    test(`${transport} cut at any byte loses and doubles nothing where the cut is a ${how}`, async () => {
      // The padding is the same all along; every byte of the frames is cut.
      for (let after = 0; after < LONG; after += after > 20 && after < 2030 ? 97 : how === "silence" ? 7 : 1) {
        await inWorld(after + 1, async (world) => {
          const speaker = ann(world);
          for (const text of TEXTS) speaker.publish("lobby", text).catch(() => {});
          await world.run(MINUTE, () => !speaker.connection.unsent.length);
          let cuts = 1;
          const listener = bob(world, {
            fate: (request) => {
              if (request.transport !== transport || !cuts) return fine();
              cuts--;
              return { ...fine(), cut: { after, how } };
            },
            features: { ...MODERN, tabs: false },
            options: { transports: [transport], history: 1000 },
          });
          await world.run(100);
          await say(world, speaker);
          await world.run(2 * MINUTE, () => heard(listener).length === TEXTS.length + 1);
          checkAll(world, [speaker, listener]);
        });
      }
    });
  }
}

test("a laptop that slept hears all it missed soon after it wakes, told of its dead connections or not", async () => {
  for (const transport of TRANSPORTS) {
    for (const told of [false, true]) {
      await inWorld(1, async (world) => {
        const speaker = ann(world);
        const listener = bob(world, { options: { transports: [transport] } });
        await world.run(MINUTE, () => listener.live);
        listener.page.sleep();
        await world.run(10 * MINUTE);
        await say(world, speaker, 150);
        await world.run(10 * MINUTE);
        listener.page.wake(told);
        listener.page.hide(true);
        listener.page.hide(false);
        assert(await world.run(5_000, () => heard(listener).length === 150), `${transport}, ${told}: ${heard(listener).length}`);
        await world.run(MINUTE);
        checkAll(world, [speaker, listener]);
      });
    }
  }
});

test("a connection that dies without a word is noticed within a minute", async () => {
  for (const transport of TRANSPORTS) {
    await inWorld(1, async (world) => {
      const speaker = ann(world);
      const listener = bob(world, { options: { transports: [transport] } });
      await world.run(MINUTE, () => listener.live);
      listener.page.wires.forEach((wire) => wire.silence());
      await say(world, speaker);
      assert(await world.run(MINUTE, () => heard(listener).length === 1), transport);
      checkAll(world, [speaker, listener]);
    });
  }
});

test("a proxy that begins to swallow streams is left for one that it lets through", async () => {
  await inWorld(1, async (world) => {
    const speaker = ann(world);
    const listener = bob(world);
    await world.run(MINUTE, () => listener.live);
    listener.page.fate = ({ transport }) =>
      /^(websocket|sse|xhr-streaming|htmlfile)$/.test(transport) ? { ...fine(), hold: true } : fine();
    listener.page.wires.forEach((wire) => wire.break());
    await say(world, speaker);
    assert(await world.run(2000, () => heard(listener).length === 1));
    assert.equal(listener.transport, "long-polling");
    await world.run(10 * MINUTE);
    await say(world, speaker);
    await world.run(1000);
    checkAll(world, [speaker, listener]);
  });
});

test("a stream that only brings its beginning, again and again, is left for another", async () => {
  await inWorld(1, async (world) => {
    const speaker = ann(world);
    const listener = bob(world, {
      // As much as a proxy passes on before it looks into the rest.
      fate: ({ transport }) =>
        /^(websocket|sse|xhr-streaming)$/.test(transport) ? { ...fine(), cut: { after: 2300, how: "fail" } } : fine(),
    });
    for (let minute = 0; minute < 20; minute++) {
      await say(world, speaker, 20);
      await world.run(MINUTE);
    }
    checkAll(world, [speaker, listener]);
    const { length } = world.requests.filter(({ page }) => page === listener.page);
    assert(length < 20 * 60, `${length} requests`);
  });
});

test("with several channels, one that may not be read is told, and the others are heard", async () => {
  for (const transport of TRANSPORTS) {
    for (const early of [true, false]) {
      await inWorld(1, async (world) => {
        const speaker = ann(world);
        if (early) world.server.forbid("attic");
        const listener = bob(world, { options: { transports: [transport], channels: ["lobby", "attic", "garden"] } });
        /** @type {string[]} */
        const denied = [];
        listener.connection.on("denied", ({ channel, error }) => denied.push(`${channel} ${error}`));
        assert(await world.run(MINUTE, () => listener.live), transport);
        if (!early) world.server.forbid("attic");
        await world.run(early ? 0 : 2 * MINUTE);
        await say(world, speaker, 1, "lobby");
        await say(world, speaker, 1, "garden");
        await world.run(MINUTE);
        assert.deepEqual(denied, ["attic forbidden"], transport);
        assert.deepEqual(listener.connection.channels.sort(), ["garden", "lobby"]);
        checkAll(world, [speaker, listener]);
      });
    }
  }
});

test("following one channel more or less disturbs none of the others", async () => {
  for (const transport of TRANSPORTS) {
    await inWorld(1, async (world) => {
      const speaker = ann(world);
      const listener = bob(world, { options: { transports: [transport] } });
      for (let round = 0; round < 20; round++) {
        if (round % 4 === 1) listener.subscribe("attic", round % 8 === 1 ? 0 : 1000);
        if (round % 4 === 3) listener.unsubscribe("attic");
        for (const channel of ["lobby", "attic", "lobby"]) speaker.publish(channel).catch(() => {});
        await world.run(round * 20);
      }
      await world.run(MINUTE);
      checkAll(world, [speaker, listener]);
    });
  }
});

test("a subscription waits for a server that is away, and is not refused", async () => {
  for (const transport of TRANSPORTS) {
    await inWorld(1, async (world) => {
      const speaker = ann(world);
      const listener = bob(world, { options: { transports: [transport] } });
      await world.run(MINUTE, () => listener.live);
      world.server.trouble = () => ({ refused: new Refused("unavailable", "the store is away", 1) });
      listener.subscribe("attic");
      await world.run(20_000);
      world.server.trouble = () => undefined;
      await world.run(MINUTE);
      await say(world, speaker, 1, "attic");
      await world.run(MINUTE);
      assert.deepEqual(heard(listener), [1], transport);
      checkAll(world, [speaker, listener]);
    });
  }
});

test("a window that passed a reader is told as one gap, and what is behind it is heard", async () => {
  for (const transport of TRANSPORTS) {
    await inWorld(1, async (world) => {
      const speaker = ann(world);
      const listener = bob(world, { options: { transports: [transport] } });
      await world.run(MINUTE, () => listener.live);
      await say(world, speaker, 3);
      await world.run(2000);
      listener.page.goOffline(true);
      await say(world, speaker, 10);
      world.server.mailbox.trim("lobby", 2);
      listener.page.goOnline(true);
      await world.run(MINUTE);
      assert.deepEqual(heard(listener), [1, 2, 3, { channel: "lobby", after: 3, resumed: 11 }, 12, 13], transport);
    });
  }
});

test("a store that was wiped is told as a gap, once, and what comes then is heard", async () => {
  for (const transport of TRANSPORTS) {
    await inWorld(1, async (world) => {
      const speaker = ann(world);
      const listener = bob(world, { options: { transports: [transport] } });
      await world.run(MINUTE, () => listener.live);
      await say(world, speaker, 3);
      await world.run(2000);
      world.server.mailbox.wipe();
      world.server.wake();
      await world.run(2000);
      await say(world, speaker, 2);
      await world.run(MINUTE);
      assert.deepEqual(heard(listener), [1, 2, 3, { channel: "lobby", after: 3, resumed: 0 }, 1, 2], transport);
    });
  }
});

test("a page that is left and come back to by the button goes on where it was", async () => {
  for (const transport of TRANSPORTS) {
    await inWorld(1, async (world) => {
      const speaker = ann(world);
      const listener = bob(world, { options: { transports: [transport] } });
      await world.run(MINUTE, () => listener.live);
      listener.page.leave();
      await world.run(10);
      assert.equal([...listener.page.wires].filter(({ stoppable, heard }) => stoppable && heard).length, 0, "left open");
      await say(world, speaker, 3);
      listener.page.comeBack();
      await world.run(2000, () => heard(listener).length === 3);
      checkAll(world, [speaker, listener]);
    });
  }
});

test("a reload goes on where the page was, on any transport", async () => {
  for (const transport of TRANSPORTS) {
    await inWorld(1, async (world) => {
      const speaker = ann(world);
      const listener = bob(world, { keeps: true, options: { transports: [transport] } });
      await world.run(MINUTE, () => listener.live);
      for (let load = 0; load < 5; load++) {
        for (let number = 0; number < 5; number++) speaker.publish("lobby").catch(() => {});
        await world.run(37 * load);
        listener.load();
      }
      await world.run(MINUTE);
      assert.equal(heard(listener).length, 25, transport);
      checkAll(world, [speaker, listener]);
    });
  }
});

test("history is read backwards, page by page", async () => {
  for (const requests of /** @type {const} */ (["fetch", "xhr", "none"])) {
    await inWorld(1, async (world) => {
      const speaker = ann(world);
      await say(world, speaker, 25);
      const listener = bob(world, { features: { ...MODERN, requests } });
      /** @type {number[]} */
      const offsets = [];
      const read = async () => {
        for (let before; ; ) {
          const page = await listener.connection.history("lobby", { limit: 10, ...(before && { before }) });
          offsets.unshift(...page.messages.map(({ offset }) => offset));
          before = page.before;
          if (!before) return;
        }
      };
      let done = false;
      read().then(() => (done = true));
      await world.run(MINUTE, () => done);
      assert.deepEqual(offsets, Array.from({ length: 25 }, (_, index) => index + 1));
    });
  }
});

test("a history that no channel can have is refused at once", async () => {
  for (const history of [-1, 0.5, 1001, Infinity]) {
    await inWorld(1, async (world) => {
      const listener = bob(world);
      for (const wrong of [history, NaN]) {
        const refused = { code: "invalid-request", message: "history" };
        await assert.rejects(listener.connection.subscribe("attic", { history: wrong }), refused);
      }
      assert(await world.run(MINUTE, () => listener.live));
      assert.deepEqual(listener.connection.channels, ["lobby"]);
      const other = bob(world, { options: { history } });
      assert(await world.run(1000, () => other.connection.state.kind === "closed"), "not told at all");
      assert.deepEqual(other.states.at(-1), "closed");
      const { length } = world.requests;
      await world.run(MINUTE);
      assert(world.requests.length - length < 10, "asked again and again");
    });
  }
});

test("a request that the server does not understand is given up, and is no gap", async () => {
  for (const transport of TRANSPORTS) {
    await inWorld(1, async (world) => {
      const speaker = ann(world);
      const listener = bob(world, { options: { transports: [transport] } });
      await world.run(MINUTE, () => listener.live);
      await say(world, speaker, 2);
      await world.run(2000);
      // That it is nothing about a channel is found out by asking for each, which is not possible at first.
      let away = true;
      world.server.trouble = (/** @type {any} */ { query }) => {
        if (query?.has("heartbeat")) return { refused: new Refused("invalid-request", "heartbeat: a number is expected") };
        return away ? { refused: new Refused("unavailable", "the store is away", 1) } : undefined;
      };
      listener.page.wires.forEach((wire) => wire.break());
      await world.run(20_000);
      assert.notEqual(listener.connection.state.kind, "closed", transport);
      away = false;
      await world.run(MINUTE);
      assert.deepEqual(listener.connection.state, { kind: "closed", reason: "invalid-request" }, transport);
      assert.deepEqual(heard(listener), [1, 2], transport);
    });
  }
});

test("a place that is none of the server's is told as a gap, and what comes then is heard", async () => {
  for (const transport of TRANSPORTS) {
    await inWorld(1, async (world) => {
      const speaker = ann(world);
      const listener = bob(world, { keeps: true, options: { transports: [transport] } });
      await world.run(MINUTE, () => listener.live);
      await say(world, speaker, 3);
      await world.run(2000);
      const { sessionStorage } = listener;
      const key = sessionStorage.key(0) ?? "";
      sessionStorage.setItem(key, JSON.stringify({ ...JSON.parse(sessionStorage.getItem(key) ?? ""), cursor: "nowhere" }));
      listener.load();
      await world.run(MINUTE, () => listener.live);
      await say(world, speaker, 1);
      await world.run(2000);
      assert.deepEqual(heard(listener), [1, 2, 3, { channel: "lobby", after: 3, resumed: 0 }, 4], transport);
    });
  }
});

test("those whom a server loses all at once come back one after the other", async () => {
  // Between two short polls there is nothing to lose.
  for (const transport of TRANSPORTS.filter((one) => one !== "short-polling")) {
    await inWorld(1, async (world) => {
      const listeners = Array.from({ length: 50 }, () => bob(world, { options: { transports: [transport] } }));
      assert(await world.run(MINUTE, () => listeners.every(({ live }) => live)), transport);
      const lost = world.clock.now;
      listeners.forEach(({ page }) => page.wires.forEach((wire) => wire.break()));
      await world.run(5000);
      assert(listeners.every(({ live }) => live), transport);
      const again = listeners.map(({ page: own }) => world.requests.find(({ at, page }) => at > lost && page === own));
      const times = again.map((request) => (request?.at ?? 0) - lost);
      const tenths = [0, 100, 200, 300, 400].map((from) => times.filter((time) => time >= from && time < from + 100).length);
      assert(tenths.every((many) => many > 0 && many < 25), `${transport}: ${tenths}`);
    });
  }
});

test("a signal takes back the call that it was given to, and no other", async () => {
  for (const transport of TRANSPORTS) {
    await inWorld(1, async (world) => {
      const { connection } = bob(world, { options: { transports: [transport] } });
      await world.run(MINUTE, () => connection.state.kind === "live");
      /** @type {string[]} */
      const told = [];
      const follow = (/** @type {string} */ channel, /** @type {string} */ name, /** @type {AbortSignal} */ signal) => {
        const over = (/** @type {string} */ what) => told.push(`${name} ${what}`);
        connection.subscribe(channel, signal ? { signal } : {}).then(() => over("follows"), ({ code }) => over(code));
      };
      const controller = new AbortController();
      const { signal } = controller;
      const none = /** @type {any} */ (undefined);
      follow("attic", "the first", signal);
      follow("attic", "the second", none);
      follow("cellar", "the third", none);
      follow("cellar", "the fourth", signal);
      follow("garden", "who is alone", signal);
      controller.abort();
      await world.run(MINUTE);
      assert.deepEqual(told.sort(), [
        "the first aborted",
        "the fourth aborted",
        "the second follows",
        "the third follows",
        "who is alone aborted",
      ]);
      assert.deepEqual(connection.channels.sort(), ["attic", "cellar", "lobby"], transport);
    });
  }
});

test("scripts leave no names behind in the window", async () => {
  await inWorld(1, async (world) => {
    const speaker = ann(world);
    const features = { ...MODERN, requests: /** @type {const} */ ("none") };
    const listener = bob(world, { features, options: { transports: ["jsonp-polling"] } });
    const names = () => Object.keys(listener.page.environment.window).filter((name) => name.startsWith("witter_"));
    for (let number = 0; number < 5; number++) {
      listener.publish("lobby").catch(() => {});
      await say(world, speaker);
      await world.run(1000);
    }
    assert.equal(names().length, 1, "the one that waits");
    listener.page.wires.forEach((wire) => wire.break());
    await world.run(5000);
    listener.close();
    // It cannot be stopped: it comes, and finds something to call.
    await world.run(MINUTE);
    assert.deepEqual(names(), []);
  });
});
