// Pages talk through the client library, by each transport alone.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { guest } from "./guest.js";
import { Host } from "./host.js";
import { HOSTILE, LONGEST } from "./hostile.js";
import { TRANSPORTS, Talker } from "./library.js";
import { launch } from "./person.js";

let host, browser;
before(async () => {
  host = await Host.start({ websocket_origins: "*" });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await host?.stop();
});

const bodies = (messages) => messages.map(({ body }) => body);

const ORIGINS = [
  { name: "its server's own page", origin: () => host.url },
  { name: "a page of another origin", origin: () => host.url.replace("127.0.0.1", "localhost") },
];

describe("by each transport alone", { concurrency: 6 }, () => {
  for (const transport of TRANSPORTS) {
    for (const [at, { name, origin }] of ORIGINS.entries()) {
      test(`${transport}: two people talk, each on ${name}`, async () => {
        const channel = `${transport}-${at}`;
        const other = `${channel}-other`;
        const options = { channels: [channel], history: 2, transports: [transport] };
        const writer = await guest(host, "Writer");
        for (const body of ["0", "1", "2"]) await writer.say(channel, body);

        const ann = await Talker.at(browser, host.url, origin());
        const bob = await Talker.at(browser, host.url, origin());
        await ann.connect(options);
        await bob.connect({ ...options, guest: "Bob" });
        for (const talker of [ann, bob]) {
          assert.deepEqual(bodies(await talker.hears(channel, 2)), [1, 2]);
          assert.deepEqual(await talker.told("state", 1), [{ kind: "live", transport }]);
        }

        assert.deepEqual((await ann.say(channel, `"Hello"`)).map(({ offset }) => offset), [4]);
        await bob.hears(channel, 3);
        await bob.say(channel, `"Hello Ann"`);
        const [hello, answer] = (await ann.hears(channel, 4)).slice(2);
        assert.deepEqual([hello.name, hello.body, answer.name, answer.body], ["Ann", "Hello", "Bob", "Hello Ann"]);

        // Each in their own order, and all in one for both.
        const fifty = (name) => Array.from({ length: 50 }, (_, number) => `"${name} ${number}"`);
        const said = await Promise.all([ann.say(channel, ...fifty("Ann")), bob.say(channel, ...fifty("Bob"))]);
        const all = await ann.hears(channel, 104);
        assert.deepEqual(await bob.hears(channel, 104), all);
        for (const [at, name] of ["Ann", "Bob"].entries()) {
          const own = all.slice(4).filter((message) => message.name === name);
          assert.deepEqual(bodies(own), fifty(name).map((body) => JSON.parse(body)));
          assert.deepEqual(own.map(({ channel, offset, id }) => ({ channel, offset, id })), said[at]);
        }

        const hostile = [...HOSTILE, ...LONGEST];
        await ann.say(channel, ...hostile);
        const heard = (await bob.hears(channel, 104 + hostile.length)).slice(104);
        assert.deepEqual(bodies(heard), hostile.map((body) => JSON.parse(body)));
        assert.equal(await bob.page.evaluate(() => "broken" in window), false);

        // One more channel, and one less, while the other goes on.
        for (const body of ["0", "1", "2"]) await writer.say(other, body);
        await bob.page.evaluate((other) => talker.connection.subscribe(other, { history: 1 }), other);
        await ann.say(other, "3");
        assert.deepEqual(bodies(await bob.hears(other, 2)), [2, 3]);
        await bob.page.evaluate((other) => talker.connection.unsubscribe(other), other);
        await ann.say(other, "4");
        await ann.say(channel, `"last"`);
        assert.equal((await bob.hears(channel, 105 + hostile.length)).at(-1).body, "last");

        const refused = await bob.page.evaluate(() => talker.connection.subscribe("@staff").catch(({ code }) => code));
        assert.equal(refused, "forbidden");
        assert.deepEqual((await bob.told("denied", 1)).map(({ channel, error }) => [channel, error]), [
          ["@staff", "forbidden"],
        ]);
        assert.deepEqual(await bob.say("@staff", "0"), [{ code: "forbidden" }]);
        await ann.say(channel, `"very last"`);
        assert.equal((await bob.hears(channel, 106 + hostile.length)).at(-1).body, "very last");
        assert.equal((await bob.told("message", 0, other)).length, 2);
        assert.deepEqual(await bob.page.evaluate(() => talker.connection.channels), [channel]);

        for (const [talker, failures] of [[ann, []], [bob, ["forbidden"]]]) {
          assert.deepEqual(await talker.told("gap", 0), []);
          assert.deepEqual((await talker.told("failed", 0)).map(({ error }) => error.code), failures);
          // Nothing is asked of any other; a page that is refused looks by short polling which channel it may not read,
          // and by a script that does not wait either, where the answer is late.
          const waited = talker.requests.map((url) => new URL(url)).filter(({ searchParams }) => searchParams.get("wait") !== "0");
          const routes = new Set(waited.map(({ pathname }) => pathname.split("/")[2]));
          for (const unasked of TRANSPORTS.filter((one) => one !== transport && one !== "short-polling")) {
            assert.ok(!routes.has(unasked), unasked);
          }
          await talker.leave();
        }
      });
    }
  }

  for (const transport of TRANSPORTS) {
    test(`${transport}: more comes than one response holds`, async () => {
      // A stream that a page keeps all of ends after 1 MiB, and a batch after 100 messages.
      const channel = `much-${transport}`;
      const [ann, bob] = [await Talker.at(browser, host.url), await Talker.at(browser, host.url)];
      await bob.connect({ channels: [channel], transports: [transport] });
      await bob.by(transport);
      await ann.connect({});
      const long = Array.from({ length: 18 }, (_, at) => `"${String(at).padEnd(60_000, "x")}"`);
      const short = Array.from({ length: 300 }, (_, at) => `${at}`);
      await ann.say(channel, ...long, ...short);
      const heard = bodies(await bob.hears(channel, long.length + short.length));
      assert.deepEqual(heard, [...long, ...short].map((body) => JSON.parse(body)));
      for (const talker of [ann, bob]) await talker.leave();
    });

    test(`${transport}: as many channels as can be followed are followed`, async () => {
      const ann = await Talker.at(browser, host.url);
      const channels = Array.from({ length: 64 }, (_, at) => `${transport}-${at}.${"x".repeat(40)}`);
      const last = channels[63];
      await ann.connect({ channels: channels.slice(0, 62), transports: [transport] });
      await ann.by(transport);
      const follow = (channel) => talker.connection.subscribe(channel).then(() => "followed", ({ code }) => code);
      const more = [...channels.slice(62), "more"];
      const outcomes = await Promise.all(more.map((channel) => ann.page.evaluate(follow, channel)));
      assert.deepEqual(outcomes, ["followed", "followed", "invalid-request"]);
      await Promise.all(channels.map((channel) => ann.say(channel, "1")));
      await ann.told("message", 64);
      for (const channel of channels) await ann.hears(channel, 1);
      await ann.say(last, "2");
      assert.equal((await ann.hears(last, 2)).length, 2);
      await ann.leave();
    });
  }
});
