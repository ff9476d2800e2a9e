// The client library finds what is left, where a browser, a proxy or a host lets little through.

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";

import { chatter } from "./chatter.js";
import { guest } from "./guest.js";
import { Host, ROOT } from "./host.js";
import { TRANSPORTS, Talker } from "./library.js";
import { HOLDS_BACK, Nginx, PASSES_UPGRADES } from "./nginx.js";
import { launch } from "./person.js";

let host, browser, silent;
before(async () => {
  host = await Host.start();
  browser = await launch();
  // Takes everything, and answers nothing.
  silent = net.createServer((socket) => socket.resume().on("error", () => {}));
  await once(silent.listen(0, "127.0.0.1"), "listening");
});
after(async () => {
  await browser?.close();
  await host?.stop();
  silent?.close();
});

/** The routes that are closed with a transport. Where scripts are left alone, no request gets through. */
const routes = (blocked) => [
  ...blocked,
  ...(blocked.includes("jsonp-polling") ? ["jsonp-session", "jsonp-publish"] : []),
  ...(blocked.length === TRANSPORTS.length - 1 && !blocked.includes("jsonp-polling") ? ["session", "publish"] : []),
];

const blockedBut = (left) => TRANSPORTS.filter((transport) => !left.includes(transport));

/** What is left of the transports: each alone, and some together. */
const ALONE = TRANSPORTS.map((transport) => [transport]);
const SOME = [
  ["sse", "jsonp-polling"],
  ["xhr-streaming", "short-polling", "htmlfile"],
  ["long-polling", "htmlfile", "jsonp-polling"],
  ["htmlfile", "jsonp-polling"],
];

const named = (left) => `but ${left.join(" and ")}`;

const numbered = (name, count) => Array.from({ length: count }, (_, at) => `${name} ${at + 1}`);

const bodiesBy = (name, messages) => messages.filter((message) => message.name === name).map(({ body }) => body);

let count = 0;

/** Ann connects where little is left, hears what was said before, and talks with somebody who is not hindered. */
async function talk(t, server, ann, left, options, before = 1) {
  const channel = `blocked-${++count}`;
  const bob = await guest(server, "Bob");
  const words = numbered("Bob", before + 10);
  for (const body of words.slice(0, before)) await bob.say(channel, JSON.stringify(body));
  await ann.connect({ channels: [channel], history: 100, ...options });
  t.diagnostic(`the first message came after ${Math.round(await ann.first())} ms`);
  const said = ann.say(channel, ...numbered("Ann", 5).map((body) => JSON.stringify(body)));
  for (const body of words.slice(before)) await bob.say(channel, JSON.stringify(body));
  const receipts = await said;
  const messages = await ann.hears(channel, words.length + 5);
  assert.equal(messages[0].offset, 1);
  assert.deepEqual(bodiesBy("Bob", messages), words);
  assert.deepEqual(bodiesBy("Ann", messages), numbered("Ann", 5));
  assert.deepEqual(receipts.map(({ offset }) => messages[offset - 1].body), numbered("Ann", 5));
  await ann.by(left[0]);
  assert.deepEqual(await ann.told("gap", 0), []);
  assert.deepEqual(await ann.told("failed", 0), []);
  await ann.page.context().close();
}

/** How a browser keeps its pages from something. */
const KINDS = {
  refuses: (route) => route.abort(),
  // As one that asks somebody else first, who is away.
  "holds back": () => {},
};

describe("where the browser lets nothing through", { concurrency: 4 }, () => {
  for (const [kind, block] of Object.entries(KINDS)) {
    // What is refused makes way at once, whatever is left.
    for (const left of kind === "refuses" ? ALONE : [...ALONE, ...SOME]) {
      test(`it ${kind} all ${named(left)}`, async (t) => {
        const ann = await Talker.at(browser, host.url);
        const blocked = blockedBut(left);
        const closed = routes(blocked).map((route) => `/witter/${route}`);
        await ann.page.route((url) => closed.includes(url.pathname), block);
        const without = [];
        if (blocked.includes("websocket")) {
          if (kind === "refuses") without.push("WebSocket");
          else await ann.page.routeWebSocket(/./, () => {});
        }
        await talk(t, host, ann, left, { environment: { without } });
      });
    }
  }
});

/** What nginx does with a route. */
const LOCATIONS = {
  forbids: () => "return 403;",
  swallows: () => `proxy_pass http://127.0.0.1:${silent.address().port};`,
};

describe("where a proxy is in the way", { concurrency: 6 }, () => {
  // Idle for most of the time, and so begun before the others.
  for (const transport of ["websocket", "sse", "xhr-streaming", "long-polling", "jsonp-polling"]) {
    test(`${transport} asks for signs of life sooner, where nginx cuts what is silent for three seconds`, async (t) => {
      const nginx = await Nginx.start(host, `${PASSES_UPGRADES} proxy_read_timeout 3s;`);
      t.after(() => nginx.stop());
      const channel = `cut-${transport}`;
      const ann = await Talker.at(browser, nginx.url);
      await ann.connect({ channels: [channel], transports: [transport] });
      await ann.by(transport);
      await ann.say(channel, `"Ann 1"`);
      // Long enough for what is silent to be cut, and for what is not to be seen alive.
      const short = new RegExp(`/${transport}\\?.*&heartbeat=[12]&`);
      await ann.asks((url) => short.test(url));
      await ann.by(transport);
      await ann.say(channel, `"Ann 2"`);
      await complete(ann, channel, 0, 2);
      await ann.page.context().close();
    });
  }

  for (const left of ALONE) {
    for (const [kind, location] of Object.entries(LOCATIONS)) {
      test(`nginx ${kind} all ${named(left)}`, async (t) => {
        const locations = routes(blockedBut(left)).map((route) => `location = /witter/${route} { ${location()} }`);
        const nginx = await Nginx.start(host, `${PASSES_UPGRADES} ${locations.join("\n")}`);
        t.after(() => nginx.stop());
        await talk(t, host, await Talker.at(browser, nginx.url), left, {});
      });
    }
  }

  for (const [name, directives, left, before] of [
    ["upgrades nothing, as Debian ships it", "", ["sse"]],
    ["upgrades nothing and holds streams back", HOLDS_BACK, ["long-polling"]],
    // What comes first fills its buffer, and is passed on.
    ["upgrades nothing and holds back what streams go on with", HOLDS_BACK, ["long-polling"], 30],
    ["holds streams back", `${HOLDS_BACK} ${PASSES_UPGRADES}`, ["websocket"]],
    ["forgets the server's name", PASSES_UPGRADES.replace(/proxy_set_header Host.*/, ""), ["sse"]],
  ]) {
    test(`nginx ${name}`, async (t) => {
      const nginx = await Nginx.start(host, directives);
      t.after(() => nginx.stop());
      await talk(t, host, await Talker.at(browser, nginx.url), left, {}, before);
    });
  }
});

/** A manifest without some of the routes. */
async function manifest(t, without) {
  const folder = await mkdtemp(path.join(tmpdir(), "witter-manifest-"));
  t.after(() => rm(folder, { recursive: true }));
  const file = path.join(folder, "spin.toml");
  const whole = await readFile(path.join(ROOT, "spin.toml"), "utf8");
  const [head, ...triggers] = whole.split(/^(?=\[\[trigger\.http\]\])/m);
  const kept = triggers.filter((trigger) => !without.includes(/route = "\/witter\/(.*)"/.exec(trigger)?.[1]));
  await writeFile(file, (head + kept.join("")).replaceAll(`"dist/`, `"${ROOT}/dist/`));
  return file;
}

describe("where the host has no more", { concurrency: 4 }, () => {
  const cache = ["--cache", path.join(ROOT, ".witter/cache")];
  for (const left of ALONE) {
    test(`it serves nothing ${named(left)}`, async (t) => {
      const from = await manifest(t, blockedBut(left));
      const host = await Host.start({}, { options: ["--from", from, ...cache] });
      t.after(() => host.stop());
      await talk(t, host, await Talker.at(browser, host.url), left, {});
    });
  }

  test("it upgrades nothing", async (t) => {
    const host = await Host.start({}, { options: ["--upgrades", "off"] });
    t.after(() => host.stop());
    await talk(t, host, await Talker.at(browser, host.url), ["sse"], {});
  });
});

/** Nothing of what Bob said is lost, and nothing of what Ann said. */
async function complete(ann, channel, said, own) {
  const messages = await ann.hears(channel, said + own);
  assert.equal(messages[0].offset, 1);
  assert.deepEqual(bodiesBy("Bob", messages), numbered("Bob", said));
  assert.deepEqual(bodiesBy("Ann", messages), numbered("Ann", own));
  assert.deepEqual(await ann.told("gap", 0), []);
}

describe("while somebody speaks without a pause", { concurrency: 4 }, () => {
  for (const left of TRANSPORTS.slice(1)) {
    test(`a page moves from ${left} to what is better, once that is let through`, async () => {
      const channel = `upgrade-${left}`;
      const stop = chatter(await guest(host, "Bob"), channel);
      const ann = await Talker.at(browser, host.url);
      const closed = routes(blockedBut([left])).map((route) => `/witter/${route}`);
      await ann.page.route((url) => closed.includes(url.pathname), () => {});
      await ann.connect({ channels: [channel], history: 1000, environment: { without: ["WebSocket"], hurry: 100 } });
      await ann.by(left);
      await ann.say(channel, `"Ann 1"`);
      await ann.page.unrouteAll();
      await ann.page.evaluate(() => talker.without.pop());
      await ann.by("websocket");
      await ann.say(channel, `"Ann 2"`);
      await complete(ann, channel, await stop(), 2);
      await ann.leave();
    });
  }

  test("nginx holds back what flows, and is found out when that ebbs", async (t) => {
    const channel = "ebb";
    const nginx = await Nginx.start(host, HOLDS_BACK);
    t.after(() => nginx.stop());
    const bob = await guest(host, "Bob");
    const stop = chatter(bob, channel);
    const ann = await Talker.at(browser, nginx.url);
    await ann.connect({ channels: [channel], history: 1000 });
    // Buffers are filled, and passed on.
    await ann.hears(channel, 60);
    const said = await stop();
    // In 10 seconds, where two should do: a heartbeat is due after 15.
    await ann.hears(channel, said, 10_000);
    await bob.say(channel, JSON.stringify(`Bob ${said + 1}`));
    await ann.hears(channel, said + 1, 10_000);
    await complete(ann, channel, said + 1, 0);
    await ann.page.context().close();
  });

  test("a page is told to use one transport after the other", async () => {
    const channel = "use";
    const stop = chatter(await guest(host, "Bob"), channel);
    const ann = await Talker.at(browser, host.url);
    await ann.connect({ channels: [channel], history: 1000 });
    const ways = [...TRANSPORTS, ...TRANSPORTS.toReversed()];
    for (const [at, transport] of ways.entries()) {
      await ann.page.evaluate((transport) => talker.connection.use([transport]), transport);
      await ann.by(transport);
      await ann.say(channel, JSON.stringify(`Ann ${at + 1}`));
    }
    await complete(ann, channel, await stop(), ways.length);
    await ann.leave();
  });

  test("nginx forbids one transport after the other, and then none", async (t) => {
    const channel = "step-by-step";
    const nginx = await Nginx.start(host, PASSES_UPGRADES);
    t.after(() => nginx.stop());
    const stop = chatter(await guest(host, "Bob"), channel);
    const ann = await Talker.at(browser, nginx.url);
    await ann.connect({ channels: [channel], history: 1000, environment: { hurry: 100 } });
    // A frame that is cut says nothing, only its silence does: it is forbidden from the beginning. A stream takes the
    // place of a poll only when it was silent for a second, which none is here: any that is left will do.
    const ways = TRANSPORTS.filter((transport) => transport !== "htmlfile");
    for (const at of ways.keys()) {
      await ann.by(...ways.slice(at));
      await ann.say(channel, JSON.stringify(`Ann ${at + 1}`));
      const forbidden = at + 1 < ways.length ? ["htmlfile", ...ways.slice(0, at + 1)] : [];
      const locations = forbidden.map((route) => `location = /witter/${route} { return 403; }`);
      await nginx.restart(host, `${PASSES_UPGRADES} ${locations.join("\n")}`);
    }
    await ann.by("websocket");
    await complete(ann, channel, await stop(), ways.length);
    await ann.page.context().close();
  });
});
