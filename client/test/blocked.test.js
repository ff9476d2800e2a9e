// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../build/index.js";
import { checkAll } from "./simulation/checks.js";
import { BLOCKS, blocking, fine } from "./simulation/fates.js";
import { Person } from "./simulation/person.js";
import { TRANSPORTS } from "./simulation/scenario.js";
import { inWorld } from "./simulation/world.js";

/** Longer is felt as not working, in milliseconds. */
const PATIENCE = 2000;

/** Those whose answers are not whole before they end. A proxy that buffers lets the others through. */
const STREAMS = ["websocket", "sse", "xhr-streaming", "htmlfile"];

const SUBSETS = Array.from({ length: 127 }, (_, index) => TRANSPORTS.filter((_, bit) => ((index + 1) >> bit) & 1));

/**
 * A network that lets only some transports through.
 *
 * @param {readonly string[]} open
 * @param {keyof typeof BLOCKS} kind
 */
function only(open, kind) {
  /** @type {Record<string, keyof typeof BLOCKS>} */
  const blocked = {};
  for (const transport of TRANSPORTS) {
    if (open.includes(transport)) continue;
    blocked[transport] = kind === "buffer" && !STREAMS.includes(transport) ? "refuse" : kind;
  }
  // Where no request of a page's own gets through, one that sends does not either.
  if (!open.some((one) => /^(xhr-streaming|long-polling|short-polling)$/.test(one)) && open.includes("jsonp-polling")) {
    blocked.publish = blocked.session = kind === "buffer" ? "refuse" : kind;
  }
  return blocking(blocked);
}

for (const kind of /** @type {(keyof typeof BLOCKS)[]} */ (Object.keys(BLOCKS))) {
  for (const as of ["somebody with a token", "a guest"]) {
    test(`${as} hears a message within two seconds by whatever is left where the network does ${kind}`, async (context) => {
      let slowest = { took: 0, by: "" };
      for (const [index, open] of SUBSETS.entries()) {
        await inWorld(index + 1, async (world) => {
          world.server.admit("token", "ann");
          const who = as === "a guest" ? { guest: "Ann" } : { token: "token" };
          const speaker = new Person(world, "speaker", connect, { options: { guest: "Bob" } });
          speaker.publish("lobby", "is anybody here?").catch(() => {});
          await world.run(PATIENCE, () => !speaker.connection.unsent.length);
          const began = world.clock.now;
          const options = { ...who, channels: ["lobby"], history: 1000 };
          const listener = new Person(world, "listener", connect, { fate: only(open, kind), options });
          const heard = () => listener.followings[0].told.length > 0;
          const inTime = await world.run(PATIENCE, heard);
          assert(inTime, `nothing within ${PATIENCE} ms by ${open}; ${listener.connection.state.kind}`);
          const took = world.clock.now - began;
          if (took > slowest.took) slowest = { took, by: `${open}` };

          // Both ways, and by what came better meanwhile, nothing is lost.
          listener.publish("lobby", "I am").catch(() => {});
          speaker.publish("lobby", "good").catch(() => {});
          await world.run(PATIENCE, () => listener.sendings.every(({ settled }) => settled));
          await world.run(120_000);
          checkAll(world, [listener, speaker]);
          const better = TRANSPORTS.find((transport) => open.includes(transport));
          assert.equal(listener.transport, better, "the best of what is left");
        });
      }
      context.diagnostic(`slowest: ${slowest.took} ms, by ${slowest.by}`);
    });
  }
}

test("a better transport is taken up again once it is no longer blocked, without loss", async () => {
  for (const [index, open] of SUBSETS.entries()) {
    await inWorld(index + 1, async (world) => {
      const speaker = new Person(world, "speaker", connect, { options: { guest: "Bob" } });
      const options = { guest: "Ann", channels: ["lobby"] };
      const listener = new Person(world, "listener", connect, { fate: only(open, "blackhole"), options });
      assert(await world.run(10_000, () => listener.live), `not live by ${open}`);
      listener.page.fate = fine;
      for (let second = 0; second < 300; second++) {
        await world.run(1000);
        speaker.publish("lobby", second).catch(() => {});
      }
      await world.run(1000);
      assert.equal(listener.transport, "websocket");
      checkAll(world, [listener, speaker]);
    });
  }
});
