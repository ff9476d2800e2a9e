// @ts-check
import { MODERN } from "./browser/environment.js";
import { checkAll, checkClosed, hasHeardAll, seesAll } from "./checks.js";
import { BLOCKS, fine, rough } from "./fates.js";
import { Person } from "./person.js";
import { Refused } from "./server.js";

/** @typedef {import("./random.js").Random} Random */
/** @typedef {import("./world.js").World} World */

export const TRANSPORTS = /** @type {const} */ ([
  "websocket",
  "sse",
  "xhr-streaming",
  "long-polling",
  "short-polling",
  "htmlfile",
  "jsonp-polling",
]);

const CHANNELS = ["lobby", "attic", "garden"];
const KINDS = ["edit", "delete", "reaction", "reply"];

/**
 * How soon all is well once nothing is wrong any more, in milliseconds: a dead link is noticed after three heartbeats,
 * a pause takes up to half a minute, and what the server asked for besides.
 */
export const RECOVERY = 120_000;

/** A page that asks more often, in a minute, asks in vain. */
const MOST_REQUESTS = 200;
const MINUTE = 60_000;

/** @param {Random} random */
function features(random) {
  if (random.chance(0.5)) return MODERN;
  const drawn = {
    requests: random.pick(/** @type {const} */ (["fetch", "fetch", "xhr", "none"])),
    webSocket: random.chance(0.5),
    eventSource: random.pick(/** @type {const} */ (["stubborn", "yielding", "none"])),
    document: random.chance(0.7),
    tabs: random.chance(0.5),
    crypto: random.chance(0.8),
  };
  // Something has to carry messages both ways.
  return drawn.requests === "none" ? { ...drawn, document: true } : drawn;
}

/**
 * @param {World} world
 * @param {(url: string, options: any) => any} connect
 */
function gather(world, connect) {
  const { random, server } = world;
  const browsers = Array.from({ length: random.between(1, 3) }, () => world.browser(random.pick([6, 6, Infinity])));
  return Array.from({ length: random.between(2, 4) }, (_, index) => {
    const name = `p${index}`;
    /** @type {any} */
    const options = { channels: random.chance(0.9) ? random.some(CHANNELS, 0.7) : [] };
    if (random.chance(0.3)) options.history = random.pick([1, 1000]);
    if (random.chance(0.2)) options.transports = random.some(TRANSPORTS, 0.5).concat("long-polling", "jsonp-polling");
    if (options.transports) options.transports = [...new Set(options.transports)];
    if (random.chance(0.4)) options.presence = true;
    let account;
    if (random.chance(0.4)) options.guest = name;
    else {
      // Tabs that share a token share a connection.
      const token = random.chance(0.6) ? "token" : `token-${name}`;
      server.admit(token, token);
      account = token;
      options.token = random.pick([token, () => token, async () => token]);
    }
    if (random.chance(0.1)) options.share = false;
    return new Person(world, name, connect, {
      browser: random.pick(browsers),
      features: features(random),
      keeps: random.chance(0.4),
      skew: random.chance(0.2) ? random.between(-3_600_000, 3_600_000) : 0,
      fate: rough(random.fork(), random.pick([0, 0.1, 0.4])),
      account,
      options,
    });
  });
}

/**
 * What may happen to somebody, and how often.
 *
 * @type {[number, (random: Random, person: Person, world: World) => void][]}
 */
const HAPPENINGS = [
  [30, (random, person) => write(random, person)],
  [4, (random, person) => Array.from({ length: random.between(2, 12) }, () => write(random, person))],
  [0.3, (random, person) => void person.publish(random.pick(CHANNELS), "x".repeat(70_000)).catch(() => {})],
  [0.3, (_, person) => void person.publish("@staff", "for some only").catch(() => {})],
  [3, (random, person) => awake(person) && void person.perform({ typing: { channel: random.pick(CHANNELS) } })],
  [
    2,
    (random, person, { server }) => {
      const channel = random.pick(CHANNELS);
      const offset = random.between(0, server.mailbox.log(channel)?.head ?? 0);
      if (awake(person)) void person.perform({ read: { channel, offset } });
    },
  ],
  [0.5, (_, { world }) => world.server.lag()],
  [1, (random, person, world) => awake(person) && takeBack(random, person, world)],
  [
    6,
    (random, person, world) => {
      const blocked = Object.fromEntries(random.some([...TRANSPORTS, "publish", "session", "command"], 0.3).map((one) => [
        one,
        random.pick(/** @type {(keyof typeof BLOCKS)[]} */ (Object.keys(BLOCKS))),
      ]));
      const rate = random.pick([0, 0.1, 0.5, 1]);
      world.note(`${person.name}'s network: ${rate} ${JSON.stringify(blocked)}`);
      person.fate = person.page.fate = rough(random.fork(), rate, blocked);
    },
  ],
  [3, (random, { page }) => page.wires.forEach((wire) => random.chance(0.7) && wire.break())],
  [3, (random, { page }) => page.wires.forEach((wire) => random.chance(0.7) && wire.silence())],
  [3, (random, { page }) => page.goOffline(random.chance(0.5))],
  [5, (random, { page }) => page.goOnline(random.chance(0.5))],
  [2, (_, { page }) => page.sleep()],
  [4, (random, { page }) => page.wake(random.chance(0.5))],
  [2, (_, { page }) => page.hide(true)],
  [3, (_, { page }) => page.hide(false)],
  [1, (_, { page }) => page.leave()],
  [2, (_, { page }) => page.comeBack()],
  [1, (_, person) => person.load()],
  [2, (random, person) => awake(person) && void person.subscribe(random.pick(CHANNELS), random.pick([undefined, 0, 1000]))],
  [1, (random, person) => awake(person) && person.unsubscribe(random.pick(CHANNELS))],
  [
    1,
    (random, person) => {
      if (awake(person)) person.connection.use([...new Set([...random.some(TRANSPORTS), ...TRANSPORTS.slice(3)])]);
    },
  ],
  [1, (random, { world }) => trouble(random, world)],
  [1, (_, { world }) => heal(world)],
  [1, (_, { world }) => world.server.stop()],
  [0.5, (_, { world }) => forgetGuests(world)],
];

/** What a store may lose. @type {((random: Random, world: World) => void)[]} */
const LOSSES = [
  (random, { server }) => server.mailbox.trim(random.pick(CHANNELS), random.between(0, 5)),
  (random, { server }) => server.mailbox.trim(random.pick(CHANNELS), random.between(0, 20)),
  (random, { server }) => server.mailbox.rollBack(random.pick(CHANNELS), random.between(1, 5)),
  (_, { server }) => server.mailbox.wipe(),
];

/** @param {Person} person */
const awake = ({ page, connection }) => !page.asleep && connection.state.kind !== "closed";

/**
 * @param {Random} random
 * @param {Person} person
 */
function write(random, person) {
  const refers = random.chance(0.2) ? { kind: random.pick(KINDS), offset: random.between(1, 20) } : undefined;
  if (awake(person)) person.publish(random.pick(CHANNELS), undefined, { refers }).catch(() => {});
}

/**
 * Somebody sends, and thinks better of it.
 *
 * @param {Random} random
 * @param {Person} person
 * @param {World} world
 */
function takeBack(random, person, { clock }) {
  const { page } = person;
  const controller = new AbortController();
  person.publish(random.pick(CHANNELS), "never mind", { signal: controller.signal }).catch(() => {});
  clock.after(random.between(0, 2000), () => page.run(() => controller.abort()));
}

/**
 * @param {Random} random
 * @param {World} world
 */
function trouble(random, { server }) {
  const rate = random.pick([0.1, 0.5, 1]);
  const draw = random.fork();
  server.trouble = () => {
    if (!draw.chance(rate)) return undefined;
    if (draw.chance(0.3)) return { refused: new Refused("rate-limited", "too often", draw.between(1, 5)) };
    return { refused: new Refused("unavailable", "the store is away", 1), stored: draw.chance(0.3) };
  };
  server.draftTrouble = () =>
    draw.chance(rate / 4) ? { error: "unavailable", detail: "the store is away", retry_after: 1 } : undefined;
}

/**
 * The server's secret is changed, once: who is refused twice in a row is not wanted.
 *
 * @param {World} world
 */
function forgetGuests({ server, note }) {
  if (forgetful.has(server)) return;
  forgetful.add(server);
  note("the guests are forgotten");
  // Who is refused again within a minute, and was not taken in between, is refused for good.
  server.forgetGuests(60_000);
}

/** Servers whose secret was changed. @type {WeakSet<object>} */
const forgetful = new WeakSet();

/** @param {World} world */
function heal({ server }) {
  server.trouble = () => undefined;
  server.draftTrouble = () => undefined;
}

/**
 * Some people, some minutes in which anything may happen to them, and then all is well again.
 *
 * @param {World} world
 * @param {(url: string, options: any) => any} connect
 */
export async function play(world, connect) {
  const { random } = world;
  if (random.chance(0.2)) world.server.lifetime = random.between(2, 10) * MINUTE;
  const people = gather(world, connect);
  const lossy = random.chance(0.2);
  let losses = lossy ? random.between(1, 4) : 0;
  const weights = HAPPENINGS.map(([weight]) => (random.chance(0.6) || weight > 20 ? weight * random.next() : 0));
  const pace = random.pick([200, 1000, 4000, 15_000]);
  for (let left = random.between(10, 150); left > 0; left--) {
    // Now and then it takes longer than a server remembers, or a stream lasts.
    await world.run(random.chance(0.005) ? random.between(4, 15) * MINUTE : random.between(0, pace));
    const person = random.pick(people);
    if (losses && random.chance(0.05)) {
      losses--;
      world.note("the store loses something");
      random.pick(LOSSES)(random, world);
      // A store that lost something is read anew.
      world.server.wake();
    }
    const [, happen] = HAPPENINGS[drawn(random, weights)];
    if (person.page.alive) happen(random, person, world);
  }
  await settle(world, people);
  checkAll(world, people, { gaps: lossy, failures: /^(forbidden|too-large|aborted)$/ });
  checkRequests(world);
  for (const person of people) person.close();
  // A script that was asked for cannot be taken back; the server holds it for so long.
  await world.run(60_000);
  for (const person of people) checkClosed(world, person);
}

/**
 * Nothing is wrong any more: everybody is live soon, all that was sent comes to an end, and so does something new.
 *
 * @param {World} world
 * @param {Person[]} people
 */
export async function settle(world, people) {
  const { server } = world;
  world.note("all is well");
  heal(world);
  for (const person of people) {
    person.fate = person.page.fate = fine;
    person.page.goOnline(true);
    person.page.comeBack();
    person.page.wake(true);
    person.page.hide(false);
  }
  const unsent = () => people.reduce((sum, { connection }) => sum + connection.unsent.length, 0);
  const isWell = () => !unsent() && people.every((one) => one.live || !one.connection.channels.length);
  let before = Infinity;
  // What takes its time over a slow connection that was kept is not stuck.
  while (!(await world.run(RECOVERY, isWell)) && unsent() < before) before = unsent();
  for (const { name, connection } of people) {
    const { state, unsent } = connection;
    if (!/^(live|fallback)$/.test(state.kind) && connection.channels.length) world.violate(`${name} stays ${state.kind}`);
    if (unsent.length) world.violate(`${name} still has ${unsent.length} to send`);
  }
  for (const person of people) {
    for (const channel of CHANNELS) person.publish(channel, "at last").catch(() => {});
  }
  server.wake();
  // A connection that died without a word looks alive for a while.
  const isHeard = () => !unsent() && people.every((one) => hasHeardAll(world, one));
  await world.run(RECOVERY, isHeard);
  // Until the last late copy of a request has arrived.
  await world.run(30_000);
  await world.run(RECOVERY, isHeard);
  await world.run(RECOVERY, () => people.every((one) => !one.asking && seesAll(world, one)));
}

/**
 * Nobody asks without end: no more often than there are messages to hear of or to send, and a little.
 *
 * @param {World} world
 */
function checkRequests({ requests, server, violate }) {
  const sent = new Set();
  /** @type {Map<object, number[]>} */
  const idle = new Map();
  for (const { at, page, route, ids } of requests) {
    const fresh = ids.some((id) => !sent.has(id));
    ids.forEach((id) => sent.add(id));
    if (fresh) continue;
    const times = idle.get(page) ?? [];
    idle.set(page, times);
    times.push(at);
    const since = times[times.length - 1 - MOST_REQUESTS];
    if (!(at - since < MINUTE)) continue;
    const news = server.mailbox.stored.filter(({ envelope }) => envelope.sent_at > since - MINUTE && envelope.sent_at <= at).length;
    const often = times.filter((time) => time >= since).length;
    if (often < MOST_REQUESTS + news) continue;
    violate(`${page.name} asked ${often} times in less than a minute, at last for ${route}`);
    return;
  }
}

/**
 * @param {Random} random
 * @param {number[]} weights
 */
function drawn(random, weights) {
  let left = random.next() * weights.reduce((sum, weight) => sum + weight, 0);
  const index = weights.findIndex((weight) => (left -= weight) < 0);
  return index < 0 ? 0 : index;
}
