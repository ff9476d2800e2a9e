// @ts-check

/** @typedef {import("./network.js").Fate} Fate */
/** @typedef {import("./network.js").Request} Request */

/** A network on which nothing is wrong. @returns {Fate} */
export const fine = () => ({ kind: "served", up: 10, down: 10 });

/** How something on the way may keep a transport from working. */
export const BLOCKS = {
  /** @returns {Fate} */
  refuse: () => ({ kind: "refused", up: 5, down: 5 }),
  /** @returns {Fate} */
  blackhole: () => ({ kind: "swallowed", up: 5, down: 5 }),
  /** A proxy that hands over what is whole: streams are not, before their end. @returns {Fate} */
  buffer: () => ({ kind: "served", up: 10, down: 10, hold: true }),
  /** A captive portal: it answers everything with its own page. @returns {Fate} */
  portal: () => ({ kind: "page", status: 200, up: 10, down: 10 }),
  /** @returns {Fate} */
  gateway: () => ({ kind: "page", status: 502, up: 10, down: 10 }),
};

/**
 * A network that lets through everything but some transports.
 *
 * @param {Partial<Record<string, keyof typeof BLOCKS>>} blocked
 */
export const blocking =
  (blocked) =>
  /** @param {Request} request */
  ({ transport }) =>
    BLOCKS[/** @type {keyof typeof BLOCKS} */ (blocked[transport])]?.() ?? fine();

/**
 * A network as it is on a train: anything may become of anything, and some transports are blocked for a while.
 *
 * @param {import("./random.js").Random} random
 * @param {number} rate How often something becomes of a request, from 0 to 1.
 * @param {Partial<Record<string, keyof typeof BLOCKS>>} blocked
 */
export function rough(random, rate, blocked = {}) {
  const base = random.between(2, 150);
  const block = blocking(blocked);
  return (/** @type {Request} */ request) => {
    const { transport, method } = request;
    if (blocked[transport]) return block(request);
    /** @type {Fate} */
    const fate = { kind: "served", up: delay(random, base), down: delay(random, base), split: random.chance(0.2) };
    if (!random.chance(rate)) return fate;
    switch (random.between(0, 8)) {
      case 0:
        return { ...fate, kind: "refused" };
      case 1:
        return { ...fate, kind: "swallowed" };
      case 2:
        return { ...fate, kind: "page", status: random.pick([200, 404, 502, 503]) };
      case 3:
        return { ...fate, hold: true };
      case 4:
        return { ...fate, deaf: true };
      case 5:
        return method === "POST" ? { ...fate, again: random.between(0, 20_000) } : fate;
      case 6:
        return { ...fate, up: random.between(1000, 25_000) };
      default: {
        const how = random.pick(/** @type {const} */ (["fail", "end", "silence"]));
        return { ...fate, cut: { after: random.between(0, random.pick([10, 300, 2500, 8000])), how } };
      }
    }
  };
}

/**
 * Mostly little, now and then a lot. Multiplied out: an engine may round a power in one way, and once it has optimized in
 * another.
 *
 * @param {import("./random.js").Random} random
 * @param {number} base
 */
function delay(random, base) {
  const drawn = random.next();
  return base + Math.floor(drawn * drawn * drawn * drawn * base * 4);
}
