// @ts-check
import { test } from "node:test";
import { connect } from "../build/index.js";
import { play } from "./simulation/scenario.js";
import { inWorld } from "./simulation/world.js";

/** As many as a minute has room for on a small machine. */
const SEEDS = Number(process.env.WITTER_SEEDS ?? 2000);
const ONLY = process.env.WITTER_SEED;

test("whatever the network does, every message arrives once, in order, or its loss is told", async () => {
  const seeds = ONLY === undefined ? Array.from({ length: SEEDS }, (_, index) => index + 1) : [Number(ONLY)];
  for (const seed of seeds) {
    try {
      await inWorld(seed, (world) => play(world, connect));
    } catch (error) {
      throw new Error(`WITTER_SEED=${seed} WITTER_LOG=1 tells it again:\n${/** @type {Error} */ (error).message}`, { cause: error });
    }
  }
});
