// People see each other on the page that the built host serves: who is here, who is typing, who has read.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Host } from "./host.js";
import { Person, launch, part } from "./person.js";

let host, browser;
before(async () => {
  host = await Host.start();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await host?.stop();
});

const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

/** How many are said to be here, and the line that tells what they do. */
const here = ({ page }, count) => page.getByRole("button", { name: `${count} ${count === 1 ? "person" : "people"} here` });
const line = ({ page }, text) => page.locator(part("typing")).filter({ hasText: text });

/** People in a room of their own. */
async function gather(room, names, options = {}) {
  const people = [];
  for (const name of names) {
    const person = await Person.at(browser, host, room, options[name]);
    await person.enter(name);
    people.push(person);
    // Who is there when one first looks does not come.
    await here(person, people.length).waitFor();
  }
  for (const person of people) await here(person, names.length).waitFor();
  return people;
}

test("who comes and goes is told quietly, and listed", async () => {
  const [ann, bob] = await gather("hall", ["Ann", "Bob"], { Bob: PHONE });
  await line(ann, "Bob came").waitFor();
  await here(ann, 2).click();
  const dialog = ann.page.getByRole("dialog", { name: "People in “hall”" });
  assert.deepEqual((await dialog.locator("bdi").allTextContents()).sort(), ["Ann", "Bob"]);
  const carl = await Person.at(browser, host, "hall");
  await carl.enter("Carl");
  await dialog.getByText("Carl").waitFor();
  await ann.page.keyboard.press("Escape");
  await bob.leave();
  await line(ann, "Bob left").waitFor();
  await here(ann, 2).waitFor();
  // Nothing of it is said aloud, or stands among the messages.
  assert.equal(await ann.page.locator(part("news")).textContent(), "");
  assert.equal((await ann.page.getByRole("log").textContent()).includes("Bob"), false);
  await ann.leave();
  await carl.leave();
});

test("who is typing is told to others, until it is sent, deleted or over", async () => {
  const [ann, bob] = await gather("typing", ["Ann", "Bob"]);
  const field = bob.page.getByRole("textbox", { name: /^Message/ });
  await field.pressSequentially("Hel");
  await line(ann, "Bob is typing …").waitFor();
  assert.equal(await line(bob, "typing").count(), 0, "not to oneself");
  await field.pressSequentially("lo");
  await field.press("Enter");
  await ann.sees(1);
  await line(ann, /^$/).waitFor({ state: "attached" });
  await field.pressSequentially("a");
  await line(ann, "Bob is typing …").waitFor();
  await field.press("Backspace");
  await line(ann, /^$/).waitFor({ state: "attached" });
  await field.pressSequentially("b");
  await line(ann, "Bob is typing …").waitFor();
  await line(ann, /^$/).waitFor({ state: "attached" });
  await ann.leave();
  await bob.leave();
});

test("how far others have read is shown, which is no further than they looked", async () => {
  const [ann, bob] = await gather("marks", ["Ann", "Bob"]);
  await ann.say("one");
  await ann.say("two");
  const read = (text) => ann.page.locator("article", { has: ann.page.getByRole("img", { name: "Read by Bob" }), hasText: text });
  await read("two").waitFor();

  // Who looks elsewhere has not read what comes.
  await bob.join("elsewhere");
  await ann.say("three");
  await bob.page.locator(part("rooms .count")).filter({ hasText: "1" }).waitFor();
  assert.equal(await read("two").count(), 1);
  await bob.page.evaluate(() => (location.hash = "marks"));
  await read("three").waitFor();
  await ann.leave();
  await bob.leave();
});

/** Who is back within this time was never away, in milliseconds: what crates/presence promises. */
const AWAY = 5000;

test("who changes the way, or loads again, was never away", async (t) => {
  const [ann, bob, carl] = await gather("change", ["Ann", "Bob", "Carl"]);
  await line(ann, /^$/).waitFor({ state: "attached" });
  const heard = await ann.page.evaluateHandle(() => {
    const heard = [];
    // Each text is a node of its own: none is missed where another takes its place at once.
    const hear = (records) => records.forEach(({ addedNodes }) => addedNodes.forEach((node) => heard.push(node.textContent)));
    new MutationObserver(hear).observe(document.getElementById(":typing"), { childList: true });
    return heard;
  });
  const gone = performance.now();
  await bob.block("websocket");
  await bob.page.getByRole("button", { name: "Connection: sse" }).waitFor();
  await bob.page.reload();
  await bob.connected();
  await here(bob, 3).waitFor();
  const away = performance.now() - gone;
  await bob.say("back");
  await ann.sees(1);
  // Whoever leaves now is told as gone later than he would be.
  await carl.leave();
  await here(ann, 2).waitFor();
  const told = (await heard.jsonValue()).filter((text) => !text.includes("typing"));
  await ann.leave();
  await bob.leave();
  // Where a page takes longer, he was away.
  if (away < AWAY) assert.deepEqual(told, ["Carl left"]);
  else t.skip(`to load again took ${Math.round(away)} ms`);
});

test("people are seen by whichever way", async () => {
  const [ann, bob] = await gather("ways", ["Ann", "Bob"]);
  const field = bob.page.getByRole("textbox", { name: /^Message/ });
  for (const way of ["xhr-streaming", "long-polling", "short-polling", "htmlfile", "jsonp-polling"]) {
    const carl = await Person.at(browser, host, "ways");
    await carl.enter("Carl");
    await carl.allow(way);
    await here(carl, 3).waitFor();
    await field.pressSequentially("x");
    await line(carl, "Bob is typing …").waitFor();
    await field.fill("");
    await carl.leave();
    await here(ann, 2).waitFor();
  }
  await ann.leave();
  await bob.leave();
});
