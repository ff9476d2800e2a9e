// The client library in pages as people write them.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { after, before, describe, test } from "node:test";

import { guest } from "./guest.js";
import { Host, ROOT } from "./host.js";
import { Talker } from "./library.js";
import { launch } from "./person.js";

let host, browser;
before(async () => {
  host = await Host.start();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await host?.stop();
});

/** The page that a README tells one to write. */
async function example(file) {
  const text = await readFile(path.join(ROOT, file), "utf8");
  return /^```html\n(.*?)^```/ms.exec(text)[1];
}

/** The same where there are no modules. */
const classic = (page) =>
  page
    .replace(/<script type="module">import .*/, '<script src="/witter/client.es5.js"></script><script>')
    .replace("connect(", "witter.connect(");

const PAGES = [
  ["the README", () => example("README.md")],
  ["the library's README", () => example("client/README.md")],
  ["the library's README, as a classic script", async () => classic(await example("client/README.md"))],
];

for (const [name, page] of PAGES) {
  test(`the lines in ${name} are a chat`, async () => {
    const body = await page();
    const bob = await guest(host, "Bob");
    await bob.say("lobby", `{"text":"Hello from Bob"}`);
    const ann = await Talker.at(browser, host.url, host.url, { body });
    const carl = await Talker.at(browser, host.url, host.url, { body });
    const lines = async ({ page }, text) => {
      const log = page.locator("#log");
      await log.filter({ hasText: text }).waitFor();
      return log.textContent();
    };
    const field = ann.page.getByLabel("Message");
    await field.fill(`Hello from ${name}`);
    await field.press("Enter");
    for (const person of [ann, carl]) {
      const all = await lines(person, `Hello from ${name}`);
      assert.ok(all.endsWith(`Bob: Hello from Bob\nAnn: Hello from ${name}\n`), all);
    }
    assert.equal(await field.inputValue(), "");
    for (const person of [ann, carl]) await person.leave();
  });
}

/** Policies of pages, and what they leave. */
const POLICIES = [
  ["connect-src 'self'", "websocket"],
  ["connect-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'", "websocket"],
  // A WebSocket is none of what this allows.
  ["connect-src http:", "sse"],
  ["frame-src 'self'; script-src 'self'", "htmlfile"],
  ["script-src 'self'", "jsonp-polling"],
];

describe("under a strict policy", { concurrency: 4 }, () => {
  for (const [policy, transport] of POLICIES) {
    test(`${policy}: ${transport} is what is left`, async () => {
      // The library itself is allowed.
      const scripts = /script-src/.test(policy) ? "" : `script-src ${host.url}/witter/client.js;`;
      const headers = { "content-security-policy": `default-src 'none'; img-src data:; ${scripts} ${policy}` };
      const channel = `policy-${POLICIES.findIndex(([one]) => one === policy)}`;
      const bob = await guest(host, "Bob");
      const ann = await Talker.at(browser, host.url, host.url, { headers });
      // What does not go at once is tried by scripts, too.
      let failures = 0;
      await ann.page.route(/\/witter\/session\?/, (route) => (failures++ ? route.continue() : route.abort()));
      await ann.connect({ channels: [channel] });
      await ann.by(transport);
      await ann.say(channel, `"Ann"`);
      await bob.say(channel, `"Bob"`);
      assert.deepEqual((await ann.hears(channel, 2)).map(({ body }) => body), ["Ann", "Bob"]);
      const page = await ann.page.evaluate((channel) => talker.connection.history(channel, { limit: 1 }), channel);
      assert.deepEqual([page.messages.map(({ body }) => body), page.before], [["Bob"], 2]);
      // The browser tells what it refused; nothing is thrown.
      assert.deepEqual(ann.errors.filter((error) => /^\w*Error/.test(error)), []);
      await ann.page.context().close();
    });
  }
});
