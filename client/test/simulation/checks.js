// @ts-check
// What holds at the end of every run.

/** @typedef {import("./person.js").Person} Person */
/** @typedef {import("./person.js").Following} Following */
/** @typedef {import("./world.js").World} World */

/** For how long after a try somebody may hope, in milliseconds; later the server may have forgotten the id. */
const MEMORY = 540_000;

/**
 * @param {World} world
 * @param {Person[]} people
 * @param {object} allowed
 * @param {boolean} [allowed.gaps] Whether the store has lost anything.
 * @param {RegExp} [allowed.failures] The codes that a message may have failed with, beside `unknown`.
 */
export function checkAll(world, people, { gaps = false, failures = /^$/ } = {}) {
  checkStored(world, people, gaps);
  for (const person of people) {
    person.followings.forEach((following) => checkHeard(world, person, following, gaps));
    checkSent(world, person, failures);
    checkSeen(world, person);
  }
}

/**
 * What is stored was published, is there once, and in its author's order; unless the store forgot what it had, and a
 * late copy of a request came by.
 *
 * @param {World} world
 * @param {Person[]} people
 * @param {boolean} forgetful
 */
function checkStored(world, people, forgetful) {
  const sendings = new Map(people.flatMap((one) => one.sendings).map((one) => [`${one.author}/${one.number}`, one]));
  const seen = new Set();
  /** @type {Map<string, number>} */
  const last = new Map();
  for (const { epoch, envelope } of world.server.mailbox.stored) {
    const { author, number } = /** @type {any} */ (envelope.body);
    const name = `${author}/${number}`;
    const sending = sendings.get(name);
    if (!sending || sending.channel !== envelope.channel || !same(sending.body, envelope.body)) {
      world.violate(`${name} is stored in ${envelope.channel}, and was not published there`);
      continue;
    }
    if (forgetful) continue;
    if (seen.has(name)) world.violate(`${name} is stored twice`);
    seen.add(name);
    const order = `${epoch} ${author} ${envelope.channel}`;
    if (sending.settled?.code) continue;
    if (number < (last.get(order) ?? 0)) world.violate(`${name} is stored behind ${last.get(order)} of the same author`);
    last.set(order, number);
  }
}

/**
 * What somebody heard is what was stored, each message once, in order, with no hole that no gap told of, and all of it.
 *
 * @param {World} world
 * @param {Person} person
 * @param {Following} following
 * @param {boolean} gapsAllowed
 */
function checkHeard(world, person, { channel, since, told, over, history, asked }, gapsAllowed) {
  const who = `${person.name} in ${channel}`;
  const stored = world.server.mailbox.stored.filter(({ envelope }) => envelope.channel === channel);
  const seen = new Set();
  /** @type {{ epoch: number | undefined, offset: number } | undefined} */
  let place;
  for (const one of told) {
    if ("gap" in one) {
      if (!gapsAllowed) world.violate(`${who} was told of a gap, and nothing was lost: ${JSON.stringify(one.gap)}`);
      place = { epoch: undefined, offset: one.gap.resumed };
      continue;
    }
    const { message } = one;
    const match = stored.find(({ envelope }) => envelope.id === message.id && same(envelope, message));
    if (!match) {
      world.violate(`${who} heard what is not stored: ${JSON.stringify(message)}`);
      continue;
    }
    const { epoch } = match;
    const name = `${epoch}/${message.offset}`;
    if (seen.has(match)) world.violate(`${who} heard ${name} twice`);
    seen.add(match);
    if (place) {
      const follows = (place.epoch ?? epoch) === epoch && message.offset === place.offset + 1;
      if (!follows) world.violate(`${who} heard ${name} behind ${place.epoch}/${place.offset}`);
    } else if (since && (!since.epoch || since.epoch === epoch) && !gapsAllowed) {
      // With a history: all that there was. Without: what came after they were told that they follow.
      // Who comes later has it only where no cursor names the channel: one from before, or another tab's, that does.
      const first = !asked && person.followings.find((one) => one.channel === channel)?.told === told;
      const latest = history >= 1000 && first ? 1 : since.head + 1;
      if (message.offset > latest) world.violate(`${who} heard ${name} first, and not ${latest}`);
    }
    place = { epoch, offset: message.offset };
  }
  if (over) return;
  const log = world.server.mailbox.log(channel);
  const end = { epoch: log?.epoch ?? 0, head: log?.head ?? 0 };
  if (!since) world.violate(`${who} was never told that they follow`);
  else if (place) {
    const whole = place.offset === end.head && (place.epoch ?? end.epoch) === end.epoch;
    if (!whole) world.violate(`${who} heard up to ${place.epoch}/${place.offset}, and there is ${end.epoch}/${end.head}`);
  } else {
    const missed = since.epoch === end.epoch ? end.head - since.head : end.head;
    if (missed) world.violate(`${who} heard nothing, and there is ${end.epoch}/${end.head}`);
  }
}

/**
 * Whether somebody has come to the end of all that they follow.
 *
 * @param {World} world
 * @param {Person} person
 */
export const hasHeardAll = (world, { followings }) =>
  followings.every(({ channel, since, told, over }) => {
    const last = told.at(-1);
    const place = last ? ("message" in last ? last.message.offset : last.gap.resumed) : since?.head;
    return over || place === (world.server.mailbox.log(channel)?.head ?? 0);
  });

/**
 * Whether somebody sees the people in all that they follow as the server does, and is seen there.
 *
 * @param {World} world
 * @param {Person} person
 */
export const seesAll = (world, person) => !unseen(world, person).length;

/**
 * @param {World} world
 * @param {Person} person
 */
function unseen({ server }, { followings, seen, options, sender }) {
  if (!options.presence) return seen.size ? ["was told of people, and had not asked"] : [];
  return followings.flatMap(({ channel, over }) => {
    if (over) return [];
    const { here, count, typing, marks } = server.presence.state(channel);
    if (sender && !here.some((one) => one.sender === sender)) return [`is not seen in ${channel}`];
    const told = seen.get(channel);
    if (!told) return [`was never told who is in ${channel}`];
    const people = [...told.here].map(([sender, name]) => ({ sender, name }));
    const order = (/** @type {typeof here} */ list) => list.map(({ sender, name }) => `${sender} ${name}`).sort();
    const truth = { count, here: order(here), typing: order(typing), marks: Object.entries(marks).sort() };
    const belief = { count: told.count, here: order(people), typing: order(told.typing), marks: Object.entries(told.marks).sort() };
    return same(truth, belief) ? [] : [`sees ${JSON.stringify(belief)} in ${channel}, and there is ${JSON.stringify(truth)}`];
  });
}

/**
 * At the end, when nothing changes any more, everybody sees the same, and no command is forgotten.
 *
 * @param {World} world
 * @param {Person} person
 */
function checkSeen(world, person) {
  for (const what of unseen(world, person)) world.violate(`${person.name} ${what}`);
  if (person.asking) world.violate(`${person.name} was never told what became of ${person.asking} commands`);
}

/**
 * Every message that somebody sent came to an end, and was not sent after it.
 *
 * @param {World} world
 * @param {Person} person
 * @param {RegExp} failures
 */
function checkSent(world, person, failures) {
  const { mailbox } = world.server;
  for (const { author, number, channel, settled, id, at, page } of person.sendings) {
    const name = `${author}/${number}`;
    // What a page did not keep ends with it.
    const gone = page < person.loads && !person.keeps;
    if (!settled) {
      if (!gone) world.violate(`${name} was neither stored nor given up`);
      continue;
    }
    const found = mailbox.stored.some(
      ({ envelope }) => envelope.channel === channel && envelope.id === id && envelope.offset === settled.offset,
    );
    if (settled.offset !== undefined && !found) world.violate(`${name} was acknowledged at ${settled.offset}, and is not there`);
    if (settled.code === "unknown") {
      const late = settled.at - at > MEMORY;
      if (!late && person.senders.length < 2) world.violate(`${name} was given up too early`);
    } else if (settled.code && settled.code !== "closed" && !failures.test(settled.code)) {
      world.violate(`${name} failed with ${settled.code}`);
    }
    // What a reader has seen already may go out by another way, while the request is still under way.
    const later = world.requests.find((sent) => sent.at > settled.at && sent.ids.includes(id));
    if (later && settled.code === "unknown") world.violate(`${name} was sent by ${later.route} after it was given up`);
  }
}

/**
 * Nothing is left of what was closed.
 *
 * @param {World} world
 * @param {Person} person
 */
export function checkClosed(world, { page, connection, browser }) {
  const { window, document } = page.environment;
  const open = [...page.wires].filter((wire) => wire.stoppable);
  const left = {
    timers: page.timers.size,
    connections: open.length,
    listeners: window.listening + (document?.listening ?? 0),
    elements: document ? document.head.children.length + document.body.children.length : 0,
    channels: [...browser.channels.open].filter((one) => one.page === page).length,
    locks: [...browser.locks.held.values(), ...browser.locks.waiting].filter((one) => one.page === page).length,
  };
  for (const [what, count] of Object.entries(left)) {
    if (count) world.violate(`${page.name} was closed, and ${count} ${what} are left`);
  }
  if (connection.state.kind !== "closed") world.violate(`${page.name} was closed, and is ${connection.state.kind}`);
}

/**
 * @param {unknown} one
 * @param {unknown} other
 */
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
