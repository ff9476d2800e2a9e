// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../build/index.js";
import { checkAll } from "./simulation/checks.js";
import { Person } from "./simulation/person.js";
import { inWorld } from "./simulation/world.js";

/** Names of channels that are names of something else in JavaScript. */
const NAMES = ["constructor", "__proto__", "toString", "hasOwnProperty", "valueOf", "length", "prototype", "1", "-.~_"];

test("a channel may have the name of what every object has", async () => {
  for (const [index, name] of NAMES.entries()) {
    await inWorld(index + 1, async (world) => {
      const speaker = new Person(world, "speaker", connect, { options: { guest: "Ann" } });
      const listener = new Person(world, "listener", connect, { options: { guest: "Bob", channels: [name] } });
      assert(await world.run(10_000, () => listener.live), name);
      for (const body of ["one", "two", "three"]) speaker.publish(name, body).catch(() => {});
      const told = () => listener.followings[0].told.length;
      assert(await world.run(10_000, () => told() === 3), `${name}: ${told()} of 3`);
      assert(await world.run(10_000, () => speaker.sendings.every(({ settled }) => settled)), name);
      checkAll(world, [speaker, listener]);
    });
  }
});
