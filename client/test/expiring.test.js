// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../build/index.js";
import { checkAll } from "./simulation/checks.js";
import { Person } from "./simulation/person.js";
import { inWorld } from "./simulation/world.js";

/** @typedef {import("../build/index.js").Transport} Transport */

/** What a credential lives, in milliseconds: shorter than any poll is held, and than a stream is silent. */
const LIFETIME = 5000;

/** @type {Transport[]} */
const TRANSPORTS = ["websocket", "sse", "xhr-streaming", "htmlfile", "long-polling", "short-polling", "jsonp-polling"];

for (const transport of TRANSPORTS) {
  test(`by ${transport}, credentials that end all the time cost no message`, async () => {
    for (const seed of [1, 2, 3]) {
      await inWorld(seed, async (world) => {
        let drawn = 0;
        const token = () => {
          world.server.admit(`ann-${++drawn}`, "ann", LIFETIME);
          return `ann-${drawn}`;
        };
        const ann = new Person(world, "ann", connect, { options: { channels: ["lobby"], transports: [transport], token } });
        const bob = new Person(world, "bob", connect, { options: { channels: ["lobby"], guest: "bob" } });
        await world.run(10_000, () => ann.live && bob.live);
        for (let number = 0; number < 100; number++) {
          for (const person of [ann, bob]) person.publish("lobby").catch(() => {});
          await world.run(700);
        }
        await world.run(10_000);
        // Just now one may have ended.
        await world.run(10_000, () => ann.live);
        assert.equal(ann.live, true);
        // About one for each time that one ended.
        assert.ok(drawn > 10 && drawn < 40, `${drawn} credentials`);
        checkAll(world, [ann, bob]);
      });
    }
  });
}
