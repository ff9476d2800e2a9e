// @ts-check
// Commands: asked once, over whatever gets through.
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../build/index.js";
import { MODERN } from "./simulation/browser/environment.js";
import { checkClosed } from "./simulation/checks.js";
import { BLOCKS, blocking, fine } from "./simulation/fates.js";
import { Person } from "./simulation/person.js";
import { TRANSPORTS } from "./simulation/scenario.js";
import { Refused } from "./simulation/server.js";
import { inWorld } from "./simulation/world.js";

/** @typedef {import("./simulation/world.js").World} World */
/** @typedef {ConstructorParameters<typeof Person>[3]} How */

const MINUTE = 60_000;
const ME = { me: {} };

/** @param {World} world @param {How} how */
const ann = (world, how = {}) =>
  new Person(world, "ann", connect, { ...how, options: { channels: ["lobby"], guest: "Ann", ...how.options } });

/**
 * What becomes of a command, once something has become of it.
 *
 * @param {Person} person
 * @param {any} command
 * @param {AbortSignal} [signal]
 */
function ask({ connection, world }, command, signal) {
  /** @type {{ answer?: any, code?: string, error?: any, at?: number }} */
  const told = {};
  const began = world.clock.now;
  const over = (/** @type {object} */ what) => Object.assign(told, what, { at: world.clock.now - began });
  connection.perform(command, signal ? { signal } : {}).then(
    (answer) => over({ answer }),
    (error) => over({ code: error.code, error }),
  );
  return told;
}

for (const transport of TRANSPORTS) {
  test(`a command is done once, and answered, while messages arrive by ${transport}`, async () => {
    await inWorld(1, async (world) => {
      const one = ann(world, { options: { transports: [transport] } });
      await world.run(MINUTE, () => one.live);
      const told = ask(one, ME);
      const typing = ask(one, { typing: { channel: "lobby" } });
      assert(await world.run(1000, () => typing.at !== undefined && told.at !== undefined));
      assert.deepEqual(told.answer, { sender: "guest~1", name: "Ann", channel: "@me~guest~1" });
      assert.deepEqual(typing.answer, { channel: "lobby", typing: true, seconds: 6 });
      assert.equal(world.server.performed.length, 2);
      const routes = world.requests.map(({ route }) => route);
      assert.equal(routes.includes("command"), transport !== "websocket", "not by the connection that there is");
    });
  });
}

test("a command is done before anything is open, and where nothing is followed", async () => {
  await inWorld(1, async (world) => {
    for (const channels of [["lobby"], []]) {
      const one = ann(world, { options: { channels } });
      const told = ask(one, ME);
      await world.run(MINUTE, () => told.at !== undefined);
      assert.equal(told.answer?.name, "Ann");
    }
  });
});

test("a command goes by a script where no request gets through", async () => {
  for (const kind of /** @type {(keyof typeof BLOCKS)[]} */ (Object.keys(BLOCKS))) {
    await inWorld(1, async (world) => {
      if (kind === "buffer") return;
      const blocked = Object.fromEntries([...TRANSPORTS.slice(0, 6), "publish", "session", "command"].map((one) => [one, kind]));
      const one = ann(world, { fate: blocking(blocked) });
      const told = ask(one, ME);
      assert(await world.run(2000, () => told.at !== undefined), kind);
      assert.equal(told.answer?.name, "Ann", kind);
    });
  }
  await inWorld(1, async (world) => {
    const one = ann(world, { features: { ...MODERN, webSocket: false, requests: "none", eventSource: "none" } });
    const told = ask(one, { typing: { channel: "lobby", of: "</script>'\u2028" } });
    await world.run(MINUTE, () => told.at !== undefined);
    assert.equal(told.answer?.typing, true);
    assert.equal(world.server.performed[0].command.typing.of, "</script>'\u2028");
    const long = ask(one, { typing: { channel: "lobby", of: "x".repeat(40_000) } });
    await world.run(MINUTE, () => long.at !== undefined);
    assert.equal(long.code, "too-large");
  });
});

test("a command is asked again with a new credential, once, where the old one is not taken", async () => {
  for (const webSocket of [true, false]) {
    await inWorld(1, async (world) => {
      const one = ann(world, { features: { ...MODERN, webSocket } });
      await world.run(MINUTE, () => one.live);
      world.server.forgetGuests();
      const told = ask(one, ME);
      await world.run(MINUTE, () => told.at !== undefined);
      assert.equal(told.answer?.sender, "guest~2");
      assert.deepEqual(one.senders, ["guest~1", "guest~2"]);
      assert.equal(world.server.performed.length, 1);
      world.server.forgetGuests();
      world.server.guests = false;
      const refused = ask(one, ME);
      await world.run(MINUTE, () => refused.at !== undefined);
      assert.equal(refused.code, "forbidden");
    });
  }
});

test("a command that is refused is rejected with the server's code, and disturbs nothing", async () => {
  for (const transport of TRANSPORTS) {
    await inWorld(1, async (world) => {
      world.server.forbid("attic");
      const one = ann(world, { options: { transports: [transport] } });
      await world.run(MINUTE, () => one.live);
      for (const [command, code] of /** @type {[any, string][]} */ ([
        [{}, "unprocessable"],
        [{ me: {}, typing: {} }, "unprocessable"],
        [{ fly: {} }, "unprocessable"],
        [{ typing: { channel: "attic" } }, "forbidden"],
        [{ typing: { channel: "no channel" } }, "invalid-request"],
        [{ read: { channel: "lobby", offset: 7 } }, "invalid-request"],
        [{ typing: { channel: "lobby", of: "x".repeat(5000) } }, "too-large"],
      ])) {
        const told = ask(one, command);
        await world.run(MINUTE, () => told.at !== undefined);
        assert.equal(told.code, code, `${transport}: ${JSON.stringify(command).slice(0, 80)}`);
      }
      world.server.trouble = ({ route }) =>
        route.endsWith("command") ? { refused: new Refused("rate-limited", "too often", 7) } : undefined;
      const told = ask(one, ME);
      await world.run(MINUTE, () => told.at !== undefined);
      assert.deepEqual([told.code, told.error.retry_after], ["rate-limited", 7], transport);
      assert(one.live, transport);
    });
  }
});

test("who has no credential is told so", async () => {
  await inWorld(1, async (world) => {
    const one = new Person(world, "nobody", connect, { options: { channels: ["lobby"] } });
    const told = ask(one, ME);
    await world.run(MINUTE, () => told.at !== undefined);
    assert.equal(told.code, "unauthorized");
    assert(await world.run(MINUTE, () => one.live));
  });
});

test("a command that gets no answer is given up as unavailable after ten seconds, and not asked again", async () => {
  for (const webSocket of [true, false]) {
    await inWorld(1, async (world) => {
      const one = ann(world, { features: { ...MODERN, webSocket } });
      await world.run(MINUTE, () => one.live);
      one.page.fate = () => ({ ...fine(), kind: "swallowed" });
      one.page.wires.forEach((wire) => wire.silence());
      const told = ask(one, ME);
      await world.run(9_900);
      assert.equal(told.at, undefined, "given up too early");
      await world.run(200);
      assert.equal(told.code, "unavailable");
      one.page.fate = fine;
      await world.run(5 * MINUTE);
      assert.equal(world.server.performed.length, 0);
    });
  }
});

test("a command whose connection breaks is given up as unavailable at once: it may be done or not", async () => {
  await inWorld(1, async (world) => {
    const one = ann(world);
    await world.run(MINUTE, () => one.live);
    const told = ask(one, ME);
    await world.run(15);
    one.page.wires.forEach((wire) => wire.break());
    await world.run(100);
    assert.deepEqual([told.code, world.server.performed.length], ["unavailable", 1]);
    assert(await world.run(1000, () => one.live));
  });
});

test("a command can be taken back as long as it is not answered", async () => {
  for (const webSocket of [true, false]) {
    await inWorld(1, async (world) => {
      const one = ann(world, { features: { ...MODERN, webSocket } });
      for (const after of [0, 5, 15]) {
        const controller = new AbortController();
        const told = ask(one, ME, controller.signal);
        await world.run(after);
        controller.abort();
        await world.run(MINUTE);
        assert.equal(told.code, "aborted");
      }
      const aborted = ask(one, ME, AbortSignal.abort());
      const controller = new AbortController();
      const answered = ask(one, ME, controller.signal);
      await world.run(1000);
      controller.abort();
      await world.run(MINUTE);
      assert.deepEqual([aborted.code, answered.answer?.name], ["aborted", "Ann"]);
      one.close();
      await world.run(MINUTE);
      checkClosed(world, one);
    });
  }
});

test("closing rejects what was asked and not answered, and leaves nothing behind, whenever it comes", async () => {
  for (const features of [MODERN, { ...MODERN, webSocket: false }, { ...MODERN, webSocket: false, requests: /** @type {const} */ ("none") }]) {
    for (const after of [0, 1, 15, 25, 45, 300, 700, 20_000]) {
      await inWorld(after, async (world) => {
        const one = ann(world, { features });
        await world.run(after);
        const told = ask(one, ME);
        /** @type {string[]} */
        const history = [];
        one.connection.history("lobby").catch(({ code }) => history.push(code));
        await world.run(after % 20);
        one.close();
        await world.run(0);
        assert.deepEqual([told.answer ? "closed" : told.code, ...history], ["closed", "closed"].slice(0, 1 + history.length));
        assert(told.at !== undefined);
        const late = ask(one, ME);
        await world.run(MINUTE);
        assert.equal(late.code, "closed");
        checkClosed(world, one);
      });
    }
  }
});

test("a signal that comes together with the answer ends nothing else", async () => {
  await inWorld(1, async (world) => {
    const one = ann(world, { fate: ({ route }) => ({ ...fine(), deaf: /polling/.test(route) }) });
    const controller = new AbortController();
    const { environment } = one.page;
    const { WebSocket } = environment;
    environment.WebSocket = class extends WebSocket {
      /** @param {any[]} how */
      constructor(...how) {
        super(...how);
        // It hears after the library, and before anybody who waits for a promise.
        super.addEventListener("message", ({ data }) => /"answer"/.test(data) && controller.abort());
      }
    };
    await world.run(MINUTE, () => one.live);
    const told = ask(one, ME, controller.signal);
    /** @type {string[]} */
    const history = [];
    one.connection.history("lobby").catch(({ code }) => history.push(code));
    await world.run(1000);
    assert(controller.signal.aborted);
    assert.equal(told.answer?.name, "Ann");
    one.close();
    await world.run(0);
    assert.deepEqual(history, ["closed"]);
    await world.run(MINUTE);
    checkClosed(world, one);
  });
});
