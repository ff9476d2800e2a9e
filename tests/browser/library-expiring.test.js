// Pages whose credentials end every few seconds, by each transport alone.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, describe, test } from "node:test";

import { chatter } from "./chatter.js";
import { guest } from "./guest.js";
import { Host } from "./host.js";
import { TRANSPORTS, Talker } from "./library.js";
import { launch } from "./person.js";

const SECRET = "a secret that is long enough for HS256";
/** In seconds: shorter than any poll is held, and than a stream is silent. */
const LIFETIME = 6;
/** What is heard meanwhile, at 20 a second. */
const MESSAGES = 400;

let host, browser;
before(async () => {
  host = await Host.start({ token_secret: SECRET });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await host?.stop();
});

/** A credential of this moment (RFC 7515, section 3.1). */
function sign(sub) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const now = Date.now() / 1000;
  const signed = `${part({ alg: "HS256" })}.${part({ sub, read: ["*"], publish: ["*"], iat: now, exp: now + LIFETIME })}`;
  return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`;
}

describe("a credential that ends all the time costs no message", { concurrency: 4 }, () => {
  for (const transport of TRANSPORTS) {
    test(`by ${transport}`, async () => {
      const channel = `ends-${transport}`;
      let signed = 0;
      const ann = await Talker.at(browser, host.url);
      await ann.page.exposeFunction("sign", () => {
        signed++;
        return sign("ann");
      });
      await ann.page.evaluate(
        ([server, options]) => talker.connect(server, { ...options, token: () => window.sign() }),
        [host.url, { channels: [channel], transports: [transport] }],
      );
      await ann.by(transport);
      const stop = chatter(await guest(host, "Bob"), channel);
      for (let number = 0; number < 10; number++) {
        const [told] = await ann.say(channel, `"Ann ${number}"`);
        assert.ok(told.offset, JSON.stringify(told));
        await ann.hears(channel, (number * MESSAGES) / 10, 60_000);
      }
      const said = await stop();
      // All that was said, each once, in the one order.
      const heard = await ann.hears(channel, said + 10, 60_000);
      const of = (name) => heard.map(({ body }) => body).filter((body) => body.startsWith(name));
      assert.deepEqual(of("Bob"), Array.from({ length: said }, (_, at) => `Bob ${at + 1}`));
      assert.deepEqual(of("Ann"), Array.from({ length: 10 }, (_, at) => `Ann ${at}`));
      assert.deepEqual(await ann.told("gap", 0), []);
      assert.ok(signed > 2, `${signed} credentials`);
    });
  }
});
