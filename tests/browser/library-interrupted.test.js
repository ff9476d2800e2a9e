// The client library goes on where it was: after reloads, kills and sleep, and without a network for a while.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { guest } from "./guest.js";
import { Host } from "./host.js";
import { TRANSPORTS, Talker, launchKeeping } from "./library.js";
import { Nginx, PASSES_UPGRADES } from "./nginx.js";
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

/**
 * Lets nothing through any more that a page says, but for the first, to which the answer is lost. Tells when that
 * is stored.
 */
async function hush({ page }) {
  let quiet = false;
  let told;
  const first = new Promise((resolve) => (told = resolve));
  await page.route(/\/witter\/(jsonp-)?publish\?/, async (route) => {
    if (!quiet) return route.continue();
    if (told) {
      const answer = route.fetch();
      told(answer);
      told = undefined;
      await answer;
    }
    await route.abort();
  });
  await page.routeWebSocket(/./, (socket) => {
    if (quiet) return socket.close({ code: 1011 });
    const server = socket.connectToServer();
    socket.onMessage((message) => server.send(message));
    server.onMessage((message) => {
      if (!quiet || !JSON.parse(message).published) return socket.send(message);
      told?.();
      told = undefined;
      socket.close({ code: 1011 });
    });
  });
  return {
    begin() {
      quiet = true;
      return first;
    },
    end() {
      quiet = false;
    },
  };
}

describe("over a reload", { concurrency: 4 }, () => {
  for (const transport of TRANSPORTS) {
    test(`${transport}: what is unsent goes out once, and what is heard goes on`, async () => {
      const channel = `reload-${transport}`;
      const options = { channels: [channel], history: 5, transports: [transport], stored: true };
      const bob = await guest(host, "Bob");
      await bob.say(channel, `"Bob 1"`);
      const ann = await Talker.at(browser, host.url);
      const silence = await hush(ann);
      await ann.connect(options);
      await ann.hears(channel, 1);
      const [{ sender }] = await ann.told("session", 1);
      // Two where the first answer is slow: it is asked for by a script, too.
      const asked = () => ann.requests.filter((url) => /session\?/.test(url)).length;
      const before = asked();

      const stored = silence.begin();
      // The page is gone before it knows what became of it.
      ann.say(channel, `"Ann 1"`, `"Ann 2"`, `"Ann 3"`).catch(() => {});
      await stored;
      await bob.say(channel, `"Bob 2"`);
      // A socket is gone with the answer; by all else the page goes on to hear.
      const earlier = await ann.hears(channel, transport === "websocket" ? 1 : 3);
      const unsent = await ann.page.evaluate(() => talker.connection.unsent.map(({ body }) => body));
      assert.deepEqual(unsent.slice(-2), ["Ann 2", "Ann 3"]);
      await ann.reload();
      await bob.say(channel, `"Bob 3"`);
      silence.end();
      await ann.connect(options);

      const later = await ann.told("message", 6 - earlier.length, channel);
      const all = [...earlier, ...later];
      assert.deepEqual(all.map(({ offset }) => offset), [1, 2, 3, 4, 5, 6]);
      assert.deepEqual(bodies(all.slice(0, 4)), ["Bob 1", "Ann 1", "Bob 2", "Bob 3"]);
      assert.deepEqual(bodies(all.slice(4)), ["Ann 2", "Ann 3"]);
      for (const own of [all[1], ...all.slice(4)]) assert.equal(own.sender, sender);
      const receipts = await ann.told("stored", unsent.length);
      assert.deepEqual(receipts.map(({ offset }) => offset), [2, 5, 6].slice(-unsent.length));
      assert.equal(await ann.page.evaluate(() => talker.connection.session.sender), sender);
      assert.equal(asked(), before);
      assert.deepEqual(await ann.told("gap", 0), []);
      await ann.page.context().close();
    });
  }
});

test("by every transport a page goes on after the host was killed", async (t) => {
  const host = await Host.start();
  t.after(() => host.stop());
  const home = host.address;
  const bob = await guest(host, "Bob");
  const pages = await Promise.all(
    TRANSPORTS.map(async (transport) => {
      const ann = await Talker.at(browser, host.url);
      await ann.connect({ channels: [transport], transports: [transport] });
      await ann.by(transport);
      await bob.say(transport, `"Bob 1"`);
      await ann.hears(transport, 1);
      return { ann, transport };
    }),
  );

  await host.kill();
  const said = pages.map(({ ann, transport }) => ann.say(transport, `"Ann 1"`, `"Ann 2"`));
  // What is said where the pages do not look for the host, they cannot hear while it is said.
  host.address = "127.0.0.1:0";
  await host.start();
  for (const { transport } of pages) for (const number of [2, 3]) await bob.say(transport, `"Bob ${number}"`);
  await host.kill();
  host.address = home;
  await host.start();
  for (const { transport } of pages) await bob.say(transport, `"Bob 4"`);

  for (const { ann, transport } of pages) {
    const messages = await ann.hears(transport, 6);
    const by = (name) => bodies(messages.filter((message) => message.name === name));
    assert.equal(messages[0].offset, 1);
    assert.deepEqual(by("Bob"), ["Bob 1", "Bob 2", "Bob 3", "Bob 4"], transport);
    assert.deepEqual(by("Ann"), ["Ann 1", "Ann 2"], transport);
  }
  for (const receipts of await Promise.all(said)) assert.ok(receipts.every(({ offset }) => offset > 3));
  for (const { ann } of pages) await ann.page.context().close();
});

describe("where a host comes back without its memory", { concurrency: 4 }, () => {
  for (const transport of TRANSPORTS.filter((one) => one !== "htmlfile")) {
    test(`${transport}: a page is told what is gone, and goes on as somebody new`, async (t) => {
      const channel = `forgotten-${transport}`;
      const other = await Host.start();
      t.after(() => other.stop());
      const nginx = await Nginx.start(host, PASSES_UPGRADES);
      t.after(() => nginx.stop());
      const bob = await guest(host, "Bob");
      const ann = await Talker.at(browser, nginx.url);
      await ann.connect({ channels: [channel], transports: [transport] });
      await ann.by(transport);
      for (const number of [1, 2, 3]) await bob.say(channel, `${number}`);
      await ann.hears(channel, 3);

      const carl = await guest(other, "Carl");
      for (const number of [4, 5]) await carl.say(channel, `${number}`);
      await nginx.restart(other, PASSES_UPGRADES);
      const [gap] = await ann.told("gap", 1);
      assert.deepEqual([gap.channel, gap.resumed], [channel, 0]);
      const [receipt] = await ann.say(channel, "6");
      assert.equal(receipt.offset, 3, receipt.code);
      const messages = await ann.told("message", 6);
      assert.deepEqual(messages.map(({ offset }) => offset), [1, 2, 3, 1, 2, 3]);
      assert.deepEqual(bodies(messages), [1, 2, 3, 4, 5, 6]);
      const [before, after] = await ann.told("session", 2);
      assert.notEqual(before.sender, after.sender);
      assert.equal(messages[5].sender, after.sender);
      assert.equal((await ann.told("gap", 0)).length, 1);
      await ann.page.context().close();
    });
  }
});

describe("without a network for a while", { concurrency: 4 }, () => {
  for (const transport of TRANSPORTS) {
    test(`${transport}: a page goes on`, async () => {
      const channel = `offline-${transport}`;
      const bob = await guest(host, "Bob");
      const ann = await Talker.at(browser, host.url);
      await ann.connect({ channels: [channel], transports: [transport] });
      await ann.by(transport);
      await bob.say(channel, `"Bob 1"`);
      await ann.hears(channel, 1);
      await ann.page.context().setOffline(true);
      const said = ann.say(channel, `"Ann 1"`, `"Ann 2"`);
      await bob.say(channel, `"Bob 2"`);
      await bob.say(channel, `"Bob 3"`);
      await ann.page.context().setOffline(false);
      await said;
      await bob.say(channel, `"Bob 4"`);
      const messages = await ann.hears(channel, 6);
      assert.deepEqual(bodies(messages).sort(), ["Ann 1", "Ann 2", "Bob 1", "Bob 2", "Bob 3", "Bob 4"]);
      await ann.page.context().close();
    });
  }
});

/** When a page does nothing, and what ends that. */
const ABSENCES = {
  "waits for an answer to its dialog": async ({ page }) => {
    const [dialog] = await Promise.all([page.waitForEvent("dialog"), page.evaluate(() => setTimeout(alert))]);
    return () => dialog.accept();
  },
  // Frozen, and without its connections, in the browser's back/forward cache.
  "was left for another, and is come back to": async (ann) => {
    await ann.depart();
    return () => ann.comeBack();
  },
};

describe("while nobody looks", { concurrency: 4 }, () => {
  for (const [absence, begin] of Object.entries(ABSENCES)) {
    for (const transport of TRANSPORTS) {
      test(`${transport}: a page that ${absence} goes on`, async () => {
        const channel = `${Object.keys(ABSENCES).indexOf(absence)}-${transport}`;
        const bob = await guest(host, "Bob");
        const ann = await Talker.at(keeping, host.url);
        await ann.connect({ channels: [channel], transports: [transport] });
        await ann.by(transport);
        await bob.say(channel, `"Bob 1"`);
        await ann.hears(channel, 1);
        const end = await begin(ann);
        for (const number of [2, 3, 4]) await bob.say(channel, `"Bob ${number}"`);
        await end();
        await ann.hears(channel, 4);
        await ann.say(channel, `"Ann 1"`);
        await bob.say(channel, `"Bob 5"`);
        const messages = await ann.hears(channel, 6);
        assert.deepEqual(bodies(messages), ["Bob 1", "Bob 2", "Bob 3", "Bob 4", "Ann 1", "Bob 5"]);
        assert.equal(messages[0].offset, 1);
        await ann.leave();
      });
    }
  }
});
