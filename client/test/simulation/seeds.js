// @ts-check
import { test } from "node:test";
import { connect } from "../../build/index.js";
import { play } from "./scenario.js";
import { inWorld } from "./world.js";

/** As many as a small machine plays in about a minute. */
const SEEDS = Number(process.env.WITTER_SEEDS ?? 2000);
const ONLY = process.env.WITTER_SEED;

/** @param {number} seed */
async function playOne(seed) {
  try {
    await inWorld(seed, (world) => play(world, connect));
  } catch (error) {
    const { message } = /** @type {Error} */ (error);
    throw new Error(`WITTER_SEED=${seed} WITTER_LOG=1 tells it again:\n${message}`, { cause: error });
  }
}

/**
 * Adds the tests of every second hundred seeds, from the first or the second on: files are run side by side, tests of
 * one file are not.
 * @param {0 | 1} half
 */
export function seeds(half) {
  if (ONLY !== undefined) {
    if (half === 0) test(`seed ${ONLY} ends well`, () => playOne(Number(ONLY)));
    return;
  }
  // In parts, so that a slow machine is not taken for one that hangs.
  for (let first = 1 + 100 * half; first <= SEEDS; first += 200) {
    const last = Math.min(first + 99, SEEDS);
    test(`whatever happens on the way, each message arrives once, in order, or its loss is told: seeds ${first} to ${last}`, async () => {
      for (let seed = first; seed <= last; seed++) await playOne(seed);
    });
  }
}
