// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../build/index.js";
import { outbox } from "../build/outbox.js";
import { MODERN } from "./simulation/browser/environment.js";
import { checkAll, checkClosed } from "./simulation/checks.js";
import { fine } from "./simulation/fates.js";
import { Person } from "./simulation/person.js";
import { Refused } from "./simulation/server.js";
import { inWorld } from "./simulation/world.js";

/** @typedef {import("./simulation/network.js").Request} Request */
/** @typedef {import("./simulation/network.js").Fate} Fate */
/** @typedef {import("./simulation/world.js").World} World */

const MINUTE = 60_000;

/** Without sockets, and without scripts: what is sent is sent by POST. */
const POSTS = { ...MODERN, webSocket: false, document: false, tabs: false };

/**
 * A network on which something becomes of requests that send, one after the other.
 *
 * @param {Partial<Fate>[]} fates What becomes of the first, the second …; of the others, nothing.
 * @returns {(request: Request) => Fate}
 */
function posts(...fates) {
  return ({ route }) => (route === "publish" ? { ...fine(), ...fates.shift() } : fine());
}

/**
 * @param {World} world
 * @param {ConstructorParameters<typeof Person>[3]} how
 */
function join(world, how = {}, name = "ann") {
  return new Person(world, name, connect, { features: POSTS, ...how, options: { channels: ["lobby"], guest: name, ...how.options } });
}

/** @param {World} world */
const ids = (world, route = /publish/) =>
  world.requests.filter((sent) => route.test(sent.route)).map((sent) => sent.ids.length);

/** @param {Person} person */
const outcomes = ({ sendings }) => sendings.map(({ settled }) => settled?.code ?? settled?.offset);

/** @type {[string, Partial<Fate>][]} */
const ACCIDENTS = [
  ["a tunnel drops it", { kind: "swallowed" }],
  ["a tunnel drops its answer", { deaf: true }],
  ["its answer is cut", { cut: { after: 20, how: "fail" } }],
  ["its answer ends early", { cut: { after: 20, how: "end" } }],
  ["its answer never ends", { cut: { after: 20, how: "silence" } }],
  ["a proxy sends it twice", { again: 3000 }],
  ["a proxy answers it with a page", { kind: "page", status: 502 }],
  ["a portal answers it with a page", { kind: "page", status: 200 }],
  ["it is refused", { kind: "refused" }],
  ["it takes half a minute", { up: 30_000 }],
];

for (const [what, fate] of ACCIDENTS) {
  test(`messages are stored once and in order when ${what}`, async () => {
    for (const webSocket of [false, true]) {
      await inWorld(1, async (world) => {
        const ann = join(world, { features: { ...POSTS, webSocket }, fate: posts(fate) });
        await world.run(1, () => !!ann.connection.session);
        for (let number = 0; number < 5; number++) ann.publish("lobby").catch(() => {});
        await world.run(MINUTE);
        assert.deepEqual(outcomes(ann), [1, 2, 3, 4, 5]);
        checkAll(world, [ann]);
      });
    }
  });
}

/** @type {["rate-limited" | "unavailable", boolean][]} */
const TROUBLES = [
  ["rate-limited", false],
  ["unavailable", false],
  ["unavailable", true],
];

for (const [code, stored] of TROUBLES) {
  test(`a server that is ${code} is left alone for as long as it says, ${stored ? "though it stored" : "having stored nothing"}`, async () => {
    await inWorld(1, async (world) => {
      const ann = join(world);
      await world.run(MINUTE, () => ann.live);
      const asked = world.requests.length;
      let refusals = 2;
      world.server.trouble = ({ route }) => {
        if (route !== "publish" || !refusals) return undefined;
        refusals--;
        return { refused: new Refused(code, "not now", 20), stored };
      };
      // Nobody reads there who could tell that it is stored.
      ann.publish("attic").catch(() => {});
      await world.run(2 * MINUTE);
      assert.deepEqual(outcomes(ann), [1]);
      const times = world.requests.slice(asked).filter(({ route }) => route === "publish").map(({ at }) => at);
      assert.equal(times.length, 3);
      assert(times[1] - times[0] >= 20_000 && times[2] - times[1] >= 20_000, `asked again after ${times[1] - times[0]} ms`);
      checkAll(world, [ann]);
    });
  });
}

test("readers leave a server alone for as long as it says", async () => {
  await inWorld(1, async (world) => {
    world.server.trouble = () => ({ refused: new Refused("unavailable", "not now", 40) });
    const bob = join(world, { features: MODERN, options: { token: "bob" } });
    world.server.admit("bob", "bob");
    await world.run(30_000);
    const begun = world.requests.length;
    await world.run(9_000);
    assert.equal(world.requests.length, begun, "it was asked within the 40 s");
    world.server.trouble = () => undefined;
    assert(await world.run(2 * MINUTE, () => bob.live));
  });
});

test("what got no answer for nine minutes is given up as unknown, and never sent again", async () => {
  await inWorld(1, async (world) => {
    const ann = join(world, { fate: ({ route }) => (route === "publish" ? { ...fine(), deaf: true } : fine()) });
    // What the server stored is not seen by a reader of another channel.
    ann.publish("attic").catch(() => {});
    await world.run(8 * MINUTE);
    assert.deepEqual(outcomes(ann), [undefined], "given up too early");
    await world.run(3 * MINUTE);
    assert.deepEqual(outcomes(ann), ["unknown"]);
    ann.page.fate = fine;
    ann.publish("attic").catch(() => {});
    await world.run(30 * MINUTE);
    assert.deepEqual(outcomes(ann), ["unknown", 2]);
    checkAll(world, [ann]);
  });
});

test("what was never sent is not given up, however long the network is away", async () => {
  await inWorld(1, async (world) => {
    const ann = join(world);
    await world.run(MINUTE, () => ann.live);
    ann.page.goOffline(true);
    await world.run(1000);
    ann.publish("lobby").catch(() => {});
    await world.run(8 * MINUTE);
    ann.page.goOnline(true);
    await world.run(MINUTE);
    assert.deepEqual(outcomes(ann), [1]);
  });
});

test("a guest who is somebody else by now does not send again what may be stored, but all the rest", async () => {
  await inWorld(1, async (world) => {
    const ann = join(world, { fate: posts({ deaf: true }) });
    await world.run(MINUTE, () => !!ann.connection.session);
    ann.publish("attic", "may be stored").catch(() => {});
    await world.run(5000);
    ann.publish("attic", "is not sent yet").catch(() => {});
    world.server.forgetGuests();
    await world.run(3 * MINUTE);
    assert.deepEqual([ann.senders.length, ...outcomes(ann)], [2, "unknown", 2]);
    checkAll(world, [ann]);
  });
});

test("a credential that is refused is renewed once, by whoever notices first", async () => {
  for (const webSocket of [false, true]) {
    await inWorld(1, async (world) => {
      const ann = join(world, { features: { ...POSTS, webSocket } });
      await world.run(MINUTE, () => ann.live);
      world.server.forgetGuests();
      // What reads is refused as well.
      if (!webSocket) ann.page.wires.forEach((wire) => wire.break());
      ann.publish("lobby").catch(() => {});
      await world.run(MINUTE);
      assert.deepEqual([ann.senders.length, ann.live, ...outcomes(ann)], [2, true, 1]);
      checkAll(world, [ann]);
    });
  }
});

test("a message before the first credential is not given up when its first answer is lost", async () => {
  await inWorld(1, async (world) => {
    const ann = join(world, { fate: posts({ deaf: true }) });
    ann.publish("attic").catch(() => {});
    await world.run(MINUTE);
    assert.deepEqual(outcomes(ann), [1]);
    checkAll(world, [ann]);
  });
});

test("a computer whose clock is a week wrong is one guest", async () => {
  for (const skew of [-7 * 24 * 60 * MINUTE, 7 * 24 * 60 * MINUTE]) {
    await inWorld(1, async (world) => {
      const ann = join(world, { skew });
      for (let number = 0; number < 5; number++) {
        ann.publish("lobby").catch(() => {});
        await world.run(10_000);
      }
      assert.deepEqual([ann.senders.length, ...outcomes(ann)], [1, 1, 2, 3, 4, 5]);
    });
  }
});

test("messages that were not acknowledged are sent after a reload, in their order, once", async () => {
  for (const stored of [false, true]) {
    await inWorld(1, async (world) => {
      const lost = stored ? { deaf: true } : /** @type {const} */ ({ kind: "swallowed" });
      const ann = join(world, { keeps: true, fate: posts(lost) });
      await world.run(MINUTE, () => ann.live);
      for (let number = 0; number < 3; number++) ann.publish("attic").catch(() => {});
      await world.run(2000);
      ann.load();
      ann.publish("attic").catch(() => {});
      assert.equal(ann.connection.unsent.length, 4);
      await world.run(MINUTE);
      assert.deepEqual([ann.senders.length, ...outcomes(ann)], [1, 1, 2, 3, 4]);
      checkAll(world, [ann]);
    });
  }
});

test("one message that is too large fails alone", async () => {
  for (const requests of /** @type {const} */ (["fetch", "xhr", "none"])) {
    await inWorld(1, async (world) => {
      const ann = join(world, { features: { ...POSTS, requests, document: true } });
      for (const text of ["one", "x".repeat(70_000), "three"]) ann.publish("lobby", text).catch(() => {});
      await world.run(MINUTE);
      assert.deepEqual(outcomes(ann), [1, "too-large", 2]);
      checkAll(world, [ann], { failures: /^too-large$/ });
    });
  }
});

test("what may not be published fails alone, with the server's code", async () => {
  await inWorld(1, async (world) => {
    const ann = join(world);
    for (const channel of ["lobby", "@staff", "@staff", "lobby"]) ann.publish(channel).catch(() => {});
    await world.run(MINUTE);
    assert.deepEqual(outcomes(ann), [1, "forbidden", "forbidden", 2]);
  });
});

test("many messages at once go out in few requests", async () => {
  for (const webSocket of [false, true]) {
    await inWorld(1, async (world) => {
      const ann = join(world, { features: { ...POSTS, webSocket } });
      await world.run(MINUTE, () => ann.live);
      for (let number = 0; number < 250; number++) ann.publish("lobby", number).catch(() => {});
      await world.run(MINUTE);
      assert.deepEqual(ids(world), [1, 100, 100, 49]);
      checkAll(world, [ann]);
    });
  }
});

test("with no way to send but a script, messages go one by one, in order", async () => {
  await inWorld(1, async (world) => {
    const ann = join(world, { features: { ...POSTS, requests: "none", eventSource: "none", document: true } });
    for (let number = 0; number < 20; number++) ann.publish("lobby").catch(() => {});
    await world.run(MINUTE);
    assert.deepEqual(outcomes(ann), Array.from({ length: 20 }, (_, index) => index + 1));
    checkAll(world, [ann]);
  });
});

test("while the server is away it is asked less and less often", async () => {
  for (const kind of /** @type {const} */ (["refused", "swallowed"])) {
    await inWorld(1, async (world) => {
      const ann = join(world, { features: MODERN });
      await world.run(MINUTE, () => ann.live);
      ann.page.fate = () => ({ ...fine(), kind });
      ann.page.wires.forEach((wire) => wire.break());
      ann.publish("lobby").catch(() => {});
      const perMinute = [];
      for (let minute = 0; minute < 8; minute++) {
        const before = world.requests.length;
        await world.run(MINUTE);
        perMinute.push(world.requests.length - before);
      }
      // Seven transports and two ways to send, every quarter of a minute on the average.
      assert(perMinute.slice(2).every((count) => count <= 9 * 8), `${perMinute}`);
      ann.page.fate = fine;
      assert(await world.run(MINUTE, () => ann.live && !ann.connection.unsent.length));
    });
  }
});

test("closing rejects what is unsent, and leaves nothing behind, whenever it comes", async () => {
  for (const features of [MODERN, POSTS, { ...MODERN, webSocket: false, requests: /** @type {const} */ ("none") }]) {
    for (const after of [0, 1, 15, 25, 45, 300, 700, 20_000]) {
      await inWorld(after, async (world) => {
        const ann = join(world, { features });
        ann.publish("lobby").catch(() => {});
        await world.run(after);
        const unsent = ann.connection.unsent.length;
        ann.publish("lobby").catch(() => {});
        ann.close();
        await world.run(MINUTE);
        checkClosed(world, ann);
        assert.equal(outcomes(ann).filter((one) => one === "closed").length, unsent + 1);
        await assert.rejects(ann.connection.publish("lobby", null), { code: "closed" });
        await assert.rejects(ann.connection.subscribe("lobby"), { code: "closed" });
        await assert.rejects(ann.connection.history("lobby"), { code: "closed" });
      });
    }
  }
});

for (const [how, features] of /** @type {[string, import("./simulation/browser/environment.js").Features][]} */ ([
  ["by a WebSocket", MODERN],
  ["by POST", POSTS],
  ["by a script", { ...POSTS, requests: "none", eventSource: "none", document: true }],
])) {
  test(`what refers to another message does so ${how}, and what does not has no word of it`, async () => {
    await inWorld(1, async (world) => {
      const ann = join(world, { features });
      await world.run(MINUTE, () => ann.live);
      /** @type {any[]} */
      const heard = [];
      ann.connection.on("message", ({ refers }) => heard.push(refers));
      const reply = /** @type {const} */ ({ kind: "reply", offset: 1 });
      ann.publish("lobby", "first").catch(() => {});
      ann.publish("lobby", "second", { refers: reply }).catch(() => {});
      ann.publish("lobby", "third").catch(() => {});
      const { unsent } = ann.connection;
      assert.deepEqual(unsent.map(({ refers }) => refers), [undefined, reply, undefined]);
      await world.run(MINUTE, () => heard.length === 3);
      assert.deepEqual(heard, [undefined, reply, undefined]);
      const stored = world.server.mailbox.stored.map(({ envelope }) => Object.keys(envelope).includes("refers"));
      assert.deepEqual(stored, [false, true, false]);
      checkAll(world, [ann]);
    });
  });
}

test("what refers to another message still does after a reload, and where it is given up", async () => {
  await inWorld(1, async (world) => {
    const refers = /** @type {const} */ ({ kind: "edit", offset: 3 });
    const ann = join(world, { keeps: true, fate: posts({ kind: "swallowed" }) });
    await world.run(MINUTE, () => ann.live);
    ann.publish("attic", "other words", { refers }).catch(() => {});
    ann.publish("@staff", "for some only", { refers }).catch(() => {});
    await world.run(2000);
    ann.load();
    /** @type {any[]} */
    const failed = [];
    ann.connection.on("failed", ({ refers, error: { code } }) => failed.push([refers, code]));
    assert.deepEqual(ann.connection.unsent.map(({ refers }) => refers), [refers, refers]);
    await world.run(MINUTE);
    assert.deepEqual(world.server.mailbox.stored.map(({ envelope }) => envelope.refers), [refers]);
    assert.deepEqual(failed, [[refers, "forbidden"]]);
    checkAll(world, [ann], { failures: /^forbidden$/ });
  });
});

test("what was asked on a connection that another one replaces is asked again on that one, which stays", async () => {
  await inWorld(1, async (world) => {
    const ann = join(world, { features: { ...POSTS, webSocket: true } });
    await world.run(MINUTE, () => ann.live);
    ann.page.wires.forEach((wire) => wire.silence());
    ann.publish("lobby").catch(() => {});
    await world.run(500);
    ann.page.dispatch("online");
    assert(await world.run(2000, () => !!ann.sendings[0].settled));
    const opened = () => world.requests.filter(({ route }) => route === "websocket").length;
    const before = opened();
    await world.run(MINUTE);
    assert.equal(opened(), before);
    assert.deepEqual(outcomes(ann), [1]);
    checkAll(world, [ann]);
  });
});

test("a channel that has to wait holds up no other, and is asked no sooner for more that is published there", async () => {
  for (const webSocket of [false, true]) {
    await inWorld(1, async (world) => {
      const ann = join(world, { features: { ...POSTS, webSocket } });
      await world.run(MINUTE, () => ann.live);
      const slowed = new Refused("rate-limited", "slowly", 60);
      const { publish } = world.server;
      let limited = true;
      world.server.publish = (token, channel, ...rest) => {
        if (limited && channel === "attic") throw slowed;
        return publish.call(world.server, token, channel, ...rest);
      };
      ann.publish("attic").catch(() => {});
      await world.run(500);
      ann.publish("lobby").catch(() => {});
      assert(await world.run(2000, () => !!ann.sendings[1].settled), "held up");
      for (let number = 0; number < 10; number++) {
        ann.publish("attic").catch(() => {});
        await world.run(1000);
      }
      limited = false;
      await world.run(2 * MINUTE);
      const attic = ann.sendings.filter(({ channel }) => channel === "attic").map(({ id }) => id);
      const times = world.requests.filter((sent) => sent.ids.some((id) => attic.includes(id))).map(({ at }) => at);
      assert(times[1] - times[0] >= 60_000, `asked again after ${times[1] - times[0]} ms`);
      assert.deepEqual(outcomes(ann), [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
      checkAll(world, [ann]);
    });
  }
});

test("who goes on publishing while nothing gets through asks no more often than who waits, and at once when it does", async () => {
  await inWorld(1, async (world) => {
    const ann = join(world);
    await world.run(MINUTE, () => ann.live);
    ann.page.fate = () => ({ ...fine(), kind: "refused" });
    ann.page.wires.forEach((wire) => wire.break());
    const before = ids(world).length;
    for (let number = 0; number < 100; number++) {
      ann.publish("lobby").catch(() => {});
      await world.run(200);
    }
    assert(ids(world).length - before < 15, `${ids(world).length - before} requests in 20 s`);
    ann.page.fate = fine;
    ann.page.dispatch("online");
    assert(await world.run(2000, () => !ann.connection.unsent.length));
    await world.run(MINUTE);
    checkAll(world, [ann]);
  });
});

test("a guest who closes before they are let in is nobody, and leaves nothing behind", async () => {
  for (const requests of /** @type {const} */ (["fetch", "none"])) {
    for (const after of [0, 1, 5, 15, 25, 500]) {
      await inWorld(1, async (world) => {
        const ann = join(world, { keeps: true, features: { ...MODERN, requests, webSocket: false } });
        ann.publish("lobby").catch(() => {});
        await world.run(after);
        const senders = ann.senders.length;
        ann.close();
        ann.sessionStorage.clear();
        await world.run(MINUTE);
        assert.deepEqual([ann.senders.length, ann.sessionStorage.length], [senders, 0], `${requests}, ${after}`);
        checkClosed(world, ann);
      });
    }
  }
});

test("what has the id of a draft in another channel is not that draft", () => {
  /** @type {any[]} */
  const taken = [];
  const post = { ready() {}, changed() {}, taken: (/** @type {any} */ receipt) => taken.push(receipt) };
  const box = outbox(/** @type {any} */ ({}), [], /** @type {any} */ (post));
  for (const channel of ["lobby", "attic"]) box.add(channel, "hello", undefined, "42");
  const left = () => box.drafts().map(({ channel }) => channel);
  box.seen({ channel: "hall", offset: 1, id: "42" });
  assert.deepEqual([taken, left()], [[], ["lobby", "attic"]]);
  box.seen({ channel: "attic", offset: 7, id: "42" });
  assert.deepEqual([taken, left()], [[{ channel: "attic", offset: 7, id: "42" }], ["lobby"]]);
  box.withdraw(box.drafts()[0]);
  assert.deepEqual(left(), []);
});

test("what one account left unsent is kept for it, and not sent as another", async () => {
  await inWorld(1, async (world) => {
    for (const name of ["ann", "bob"]) world.server.admit(name, name);
    const as = (/** @type {string} */ name) => ({ channels: ["lobby"], token: name, account: name });
    const ann = new Person(world, "ann", connect, { features: POSTS, keeps: true, fate: posts({ kind: "swallowed" }), options: as("ann") });
    await world.run(MINUTE, () => ann.live);
    ann.publish("attic", "hers").catch(() => {});
    await world.run(1000);
    for (const [name, unsent] of /** @type {[string, number][]} */ ([["bob", 0], ["ann", 1]])) {
      ann.close();
      ann.options = as(name);
      ann.load();
      assert.equal(ann.connection.unsent.length, unsent, name);
      await world.run(MINUTE);
    }
    assert.deepEqual(world.server.mailbox.stored.map(({ envelope }) => envelope.sender), ["ann"]);
  });
});
