// Who is told what, where a page and the server are of different origins.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { guest } from "./guest.js";
import { Host } from "./host.js";
import { Person, launch } from "./person.js";
import { serve } from "./serve.js";
import { PAGES, Visitor } from "./visitor.js";

let host, browser;
before(async () => {
  host = await Host.start();
  // Names enough for origins and domains; all of them are this machine.
  browser = await launch("--host-resolver-rules=MAP *.test 127.0.0.1");
});
after(async () => {
  await browser?.close();
  await host?.stop();
});

/** A page that keeps what a frame tells it, in `frames`. */
const listener = (src, script = "") => `<!doctype html><script>
  ${script}
  var frames = [];
  function receive(text) { frames.push(JSON.parse(text)); }
  onmessage = function (event) { frames.push(JSON.parse(event.data)); };
</script><iframe src="${src}"></iframe>`;

/** What the page in the window was told, once `body` was. */
async function told(page, body) {
  await page.waitForFunction((body) => Array.isArray(frames) && frames.some((frame) => frame.envelope?.body === body), body);
  return page.evaluate(() => frames);
}

test("the forever iframe delivers nothing to a window of its own", async () => {
  const bob = await guest(host, "Bob");
  await bob.say("alone", `"before"`);
  for (const query of ["callback=alert", "callback=eval", "origin=*", `origin=${host.url}`]) {
    const person = await Person.open(browser);
    const dialogs = [];
    person.page.on("dialog", (dialog) => {
      dialogs.push(dialog.message());
      dialog.dismiss();
    });
    const { url } = host;
    await person.page.goto(`${url}/witter/htmlfile?channel=alone&history=1&${query}`, { waitUntil: "commit" });
    if (query !== "origin=*") {
      // As text on the page, and not as a script.
      await person.page.waitForFunction(() => document.querySelector("plaintext")?.textContent.includes("before"));
      assert.equal(await person.page.evaluate(() => document.scripts.length), 1);
    } else {
      // No origin in particular is none.
      await person.page.waitForFunction(() => document.body?.textContent.includes("invalid-request"));
    }
    assert.deepEqual(dialogs, []);
    await person.leave();
  }
});

test("the forever iframe posts only to the origin that is named", async () => {
  const bob = await guest(host, "Bob");
  await bob.say("posted", `"secret"`);
  const frame = (origin) => `${host.url}/witter/htmlfile?channel=posted&history=1&origin=${encodeURIComponent(origin)}`;
  const server = await serve("");
  const origin = `http://127.0.0.1:${server.address().port}`;
  for (const [named, delivered] of [
    [origin, true],
    [`http://localhost:${server.address().port}`, false],
    ["http://127.0.0.1", false],
    ["https://other.example", false],
  ]) {
    const page = await browser.newPage();
    await page.goto(origin);
    await page.evaluate((html) => {
      document.open();
      document.write(html);
      document.close();
    }, listener(frame(named)));
    // The frame has run its scripts, whoever heard them; what it posts to anybody comes behind that.
    const inside = await page.waitForSelector("iframe").then((element) => element.contentFrame());
    await inside.waitForFunction(() => [...document.scripts].some((script) => script.text.includes("secret")));
    await inside.evaluate(() => parent.postMessage(`{"envelope":{"body":"to anybody"}}`, "*"));
    const bodies = (await told(page, "to anybody")).map((frame) => frame.envelope?.body).filter(Boolean);
    assert.deepEqual(bodies, delivered ? ["secret", "to anybody"] : ["to anybody"]);
    await page.close();
  }
  server.close();
});

test("with document_domain set, the forever iframe reaches the page of a sibling domain", async (t) => {
  const host = await Host.start({ document_domain: "example.test" });
  t.after(() => host.stop());
  const [, port] = host.address.split(":");
  const bob = await guest(host, "Bob");
  await bob.say("domain", `"heard"`);
  const src = `http://push.example.test:${port}/witter/htmlfile?channel=domain&history=1&callback=receive`;
  const headers = { "origin-agent-cluster": "?0" };
  for (const [script, reached] of [["document.domain = 'example.test';", true], ["", false]]) {
    const server = await serve(listener(src, script), headers);
    const page = await browser.newPage();
    const refused = page.waitForEvent("pageerror", { predicate: (error) => /origin/.test(error.message) });
    refused.catch(() => {});
    await page.goto(`http://chat.example.test:${server.address().port}/`, { waitUntil: "commit" });
    if (reached) {
      const all = await told(page, "heard");
      assert.ok(all[0].open);
    } else {
      await refused;
      assert.deepEqual(await page.evaluate(() => frames), []);
    }
    await page.close();
    server.close();
  }
});

test("a list of origins serves the pages that it names, and no others", async (t) => {
  const [, port] = host.address.split(":");
  const listed = `http://listed.test:${port}`;
  const other = await Host.start({ origins: `https://chat.example,${listed}` });
  t.after(() => other.stop());
  const ways = PAGES.filter(({ page }) => ["cors", "xdomainrequest"].includes(page));
  for (const way of ways) {
    const parameters = { channel: way.page, server: other.url };
    const ann = await Visitor.on(way, browser, listed, parameters);
    await ann.enter("Ann");
    await ann.say("Hello");
    assert.deepEqual(await ann.sees(1), ["Ann: Hello"]);
    await ann.leave();

    const mallory = await Visitor.on(way, browser, `http://foreign.test:${port}`, parameters);
    const blocked = mallory.page.waitForEvent("console", (message) => /blocked by CORS policy/.test(message.text()));
    await mallory.introduce("Mallory");
    await blocked;
    await mallory.page.getByRole("status").filter({ hasText: "Reconnecting" }).waitFor();
    assert.equal(await mallory.page.locator("#log li").count(), 0);
    await mallory.page.context().close();
  }
});
