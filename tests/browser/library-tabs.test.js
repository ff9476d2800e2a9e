// Tabs of one origin share a connection of the client library.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { chatter } from "./chatter.js";
import { guest } from "./guest.js";
import { Host } from "./host.js";
import { TRANSPORTS, Talker, launchKeeping } from "./library.js";
import { launch } from "./person.js";

let host, browser, keeping;
before(async () => {
  host = await Host.start();
  browser = await launch();
  keeping = await launchKeeping();
});
after(async () => {
  await keeping?.close();
  await browser?.close();
  await host?.stop();
});

const bodies = (messages) => messages.map(({ body }) => body);

/** How often a tab that follows another may have asked by a transport: once for what it could not hear. */
const fetches = (transport) => (/^(short|jsonp)-polling$/.test(transport) ? 1 : 0);

/** So many tabs, each connected as Ann; the first of them keeps the connection. */
async function tabs(count, channel, options = {}, within = browser) {
  const { token } = await guest(host, "Ann");
  const all = [await Talker.at(within, host.url)];
  while (all.length < count) all.push(await Talker.beside(all[0]));
  const transport = options.transports?.[0] ?? "websocket";
  for (const tab of all) {
    const connect = async () => {
      await tab.connect({ token, channels: [channel], ...options });
      await tab.by(transport);
    };
    await connect();
    // Whoever is not welcomed within a second keeps one alone: a busy machine may take longer.
    while (tab !== all[0] && tab.asked(transport) > fetches(transport)) {
      await tab.reload();
      tab.requests.length = 0;
      await connect();
    }
  }
  return all;
}

describe("two tabs", { concurrency: 4 }, () => {
  for (const transport of TRANSPORTS) {
    test(`${transport}: talk over one connection`, async () => {
      const channel = `tabs-${transport}`;
      const bob = await guest(host, "Bob");
      const both = await tabs(2, channel, { transports: [transport] });
      const [leader, follower] = both;
      await bob.say(channel, `"Bob 1"`);
      await leader.say(channel, `"leader"`);
      await follower.say(channel, `"follower"`);
      await bob.say(channel, `"Bob 2"`);
      for (const tab of both) {
        const messages = await tab.hears(channel, 4);
        assert.deepEqual(bodies(messages), ["Bob 1", "leader", "follower", "Bob 2"]);
        assert.equal(messages[0].offset, 1);
      }
      assert.ok(leader.asked(transport) > 0);
      assert.ok(follower.asked(transport) <= fetches(transport), `${follower.requests}`);
      await leader.page.context().close();
    });

    test(`${transport}: follow a channel each`, async () => {
      const channel = `each-${transport}`;
      const bob = await guest(host, "Bob");
      const [leader, follower] = await tabs(2, channel, { transports: [transport] });
      const other = `${channel}-other`;
      for (const number of [1, 2, 3]) await bob.say(other, `${number}`);
      await follower.page.evaluate((other) => talker.connection.subscribe(other, { history: 2 }), other);
      await bob.say(other, "4");
      assert.deepEqual(bodies(await follower.hears(other, 3)), [2, 3, 4]);
      await bob.say(channel, `"both"`);
      for (const tab of [leader, follower]) assert.deepEqual(bodies(await tab.hears(channel, 1)), ["both"]);
      assert.deepEqual(await leader.told("message", 0, other), []);
      await leader.page.evaluate((channel) => talker.connection.unsubscribe(channel), channel);
      await bob.say(channel, `"one"`);
      assert.deepEqual(bodies(await follower.hears(channel, 2)), ["both", "one"]);
      await bob.say(other, "5");
      assert.deepEqual(bodies(await follower.hears(other, 4)), [2, 3, 4, 5]);
      assert.equal((await leader.told("message", 0)).length, 1);
      await leader.page.context().close();
    });
  }

  for (const [name, tokens, share] of [
    ["that are somebody else each", 2, true],
    ["that are told not to share", 1, false],
  ]) {
    test(`${name} have a connection each`, async () => {
      const who = [];
      while (who.length < tokens) who.push(await guest(host, "Ann"));
      const first = await Talker.at(browser, host.url);
      const second = await Talker.beside(first);
      for (const [at, tab] of [first, second].entries()) {
        await tab.connect({ token: who[at % tokens].token, channels: ["apart"], share });
        await tab.by("websocket");
        assert.equal(tab.asked("websocket"), 1, `${tab.requests} ${JSON.stringify(await tab.standing())}`);
      }
      await first.page.context().close();
    });
  }
});

/** How the tab that keeps the connection ends. */
const ENDS = {
  "is closed": ({ page }) => page.close(),
  "leaves for another page": (leader) => leader.depart(),
  crashes: async ({ page }) => {
    const session = await page.context().newCDPSession(page);
    const crashed = page.waitForEvent("crash");
    // There is nobody left to answer.
    session.send("Page.crash").catch(() => {});
    await crashed;
  },
  "closes its connection": ({ page }) => page.evaluate(() => talker.connection.close()),
};

describe("while somebody speaks without a pause", { concurrency: 4 }, () => {
  for (const transport of ["websocket", "sse", "long-polling"]) {
    for (const [name, end] of Object.entries(ENDS)) {
      test(`${transport}: the tab that keeps the connection ${name}, and others go on`, async () => {
        const channel = `${transport}-${Object.keys(ENDS).indexOf(name)}`;
        const bob = await guest(host, "Bob");
        const stop = chatter(bob, channel);
        const [leader, ...others] = await tabs(3, channel, { history: 1000, transports: [transport] });
        await end(leader);
        // Whoever is next keeps it.
        const next = await Promise.race(
          others.map(async (other) => {
            await other.asks((url) => url.includes(`/witter/${transport}?`));
            return other;
          }),
        );
        for (const other of others) await other.say(channel, `"there"`);
        const count = await stop();
        for (const other of others) {
          const messages = await other.hears(channel, count + 2);
          assert.equal(messages[0].offset, 1);
          assert.equal(messages.length, count + 2);
          assert.deepEqual(await other.told("gap", 0), []);
        }
        const [last] = others.filter((other) => other !== next);
        assert.equal(last.asked(transport), 0);
        await last.page.context().close();
      });
    }
  }

  test("whoever keeps it next keeps what others follow, too", async () => {
    const bob = await guest(host, "Bob");
    const [leader, ...others] = await tabs(3, "ours");
    for (const [at, tab] of others.entries()) {
      await tab.page.evaluate((channel) => talker.connection.subscribe(channel), `mine-${at}`);
    }
    await leader.page.close();
    await Promise.race(others.map((tab) => tab.asks((url) => url.includes("/witter/websocket?"))));
    for (const [at, tab] of others.entries()) {
      await bob.say(`mine-${at}`, `"soon"`);
      await tab.hears(`mine-${at}`, 1, 10_000);
      await bob.say(`mine-${at}`, `"later"`);
      await tab.hears(`mine-${at}`, 2, 10_000);
    }
    assert.equal(others[0].asked("websocket") + others[1].asked("websocket"), 1);
    await others[0].page.context().close();
  });

  test("the tab that kept the connection comes back, and another keeps it", async () => {
    const channel = "back";
    const stop = chatter(await guest(host, "Bob"), channel);
    const [leader, follower] = await tabs(2, channel, { history: 1000 }, keeping);
    await leader.depart();
    await follower.asks((url) => url.includes("/witter/websocket?"));
    await follower.say(channel, `"away"`);
    await leader.comeBack();
    await leader.by("websocket");
    for (const tab of [leader, follower]) await tab.say(channel, `"here"`);
    const count = await stop();
    for (const tab of [leader, follower]) {
      const messages = await tab.hears(channel, count + 3);
      assert.equal(messages[0].offset, 1);
      assert.equal(messages.length, count + 3);
    }
    assert.equal(follower.asked("websocket"), 1);
    await leader.page.context().close();
  });
});
