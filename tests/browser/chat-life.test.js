// What becomes of messages and rooms on the page that the built host serves: answers, reactions, second thoughts,
// conversations of two, rooms for some only, and those who keep order.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";

import { Host } from "./host.js";
import { Person, launch, part } from "./person.js";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

let host, browser;
before(async () => {
  host = await Host.start();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await host?.stop();
});

/** Two people in a room of their own. */
async function two(room) {
  const people = [];
  for (const name of ["Ann", "Bob"]) {
    const person = await Person.at(browser, host, room);
    await person.enter(name);
    people.push(person);
  }
  return people;
}

const article = ({ page }, text) => page.locator("article", { hasText: text });

/** Opens the menu of a message. */
async function menu(person, text) {
  const one = article(person, text);
  await one.hover();
  await one.getByRole("button", { name: /^Reply, react and more/ }).click();
  return person.page.getByRole("dialog");
}

const field = ({ page }) => page.getByRole("textbox", { name: /^Message/ });

test("a message is answered, and the answer shows what it answers", async () => {
  const [ann, bob] = await two("answers");
  await ann.say("Who is there?");
  await bob.sees(1);
  await (await menu(bob, "Who is there?")).getByRole("button", { name: "Reply", exact: true }).click();
  await bob.page.getByText("Reply to Ann: Who is there?").waitFor();
  await bob.say("It is me");
  for (const person of [ann, bob]) {
    await person.sees(2);
    assert.equal(await article(person, "It is me").locator("blockquote").textContent(), "AnnWho is there?");
  }
  // What is written next is about nothing.
  await bob.say("And now for something else");
  await ann.sees(3);
  assert.equal(await ann.page.locator("blockquote").count(), 1);
  await ann.leave();
  await bob.leave();
});

test("a message is edited and deleted for everybody, also for who comes later", async () => {
  const [ann, bob] = await two("thoughts");
  await ann.say("helo");
  await ann.say("forget this");
  await bob.sees(2);
  await (await menu(ann, "helo")).getByRole("button", { name: "Edit" }).click();
  assert.equal(await field(ann).inputValue(), "helo");
  await ann.say("hello");
  await article(bob, "hello").getByText("edited").waitFor();
  const dialog = await menu(ann, "forget this");
  await dialog.getByRole("button", { name: "Delete" }).click();
  await dialog.getByRole("button", { name: "Really delete it for everybody?" }).click();
  await article(bob, "forget this").waitFor({ state: "detached" });
  const carl = await Person.at(browser, host, "thoughts");
  await carl.enter("Carl");
  await article(carl, "hello").getByText("edited").waitFor();
  for (const person of [ann, bob, carl]) assert.deepEqual((await person.sees(1)).map(({ text }) => text), ["hello"]);

  // Nobody is offered what is another's.
  const others = await menu(bob, "hello");
  assert.equal(await others.getByRole("button", { name: /^(Edit|Delete)$/ }).count(), 0);
  await bob.page.keyboard.press("Escape");

  // By the keyboard: the last message of one's own, and back.
  await field(ann).press("ArrowUp");
  assert.equal(await field(ann).inputValue(), "hello");
  await field(ann).press("Escape");
  assert.equal(await field(ann).inputValue(), "");
  await field(ann).press("ArrowUp");
  await ann.say("hello, all");
  await article(bob, "hello, all").waitFor();
  for (const person of [ann, bob, carl]) await person.leave();
});

test("people react, each with one sign, and take it back", async () => {
  const [ann, bob] = await two("signs");
  await ann.say("Cake?");
  await bob.sees(1);
  await (await menu(bob, "Cake?")).getByRole("button", { name: "React with 🎉" }).click();
  const chip = (person, sign, ...names) =>
    person.page.getByRole("button", { name: `${sign} ${names.length}: ${names.join(" and ")}`, exact: true });
  await chip(ann, "🎉", "Bob").click();
  await chip(bob, "🎉", "Bob", "Ann").waitFor();
  assert.equal(await chip(bob, "🎉", "Bob", "Ann").getAttribute("aria-pressed"), "true");
  await (await menu(bob, "Cake?")).getByRole("button", { name: "React with 👍" }).click();
  await chip(ann, "👍", "Bob").waitFor();
  await chip(ann, "🎉", "Ann").click();
  await chip(bob, "🎉", "Ann").waitFor({ state: "detached" });
  await chip(bob, "👍", "Bob").waitFor();
  await ann.leave();
  await bob.leave();
});

test("the menus of messages are reached by arrows, and one of them by Tab", async () => {
  const [ann, bob] = await two("arrows");
  for (const text of ["one", "two", "three"]) await ann.say(text);
  await ann.sees(3);
  const reached = ann.page.locator(".dots[tabindex='0']");
  await reached.waitFor({ state: "attached" });
  assert.equal(await reached.count(), 1);
  await reached.focus();
  await ann.page.keyboard.press("ArrowUp");
  await ann.page.keyboard.press("Enter");
  await ann.page.getByRole("dialog", { name: "Ann: two" }).waitFor();
  // What is behind the menu is drawn anew, twice, and the focus comes back to it all the same.
  for (const sign of ["👍", "🎉"]) {
    await (await menu(bob, "two")).getByRole("button", { name: `React with ${sign}` }).click();
    await article(ann, "two").locator("footer button", { hasText: sign }).waitFor();
  }
  await ann.page.keyboard.press("Escape");
  await ann.page.waitForFunction(() => {
    const { activeElement } = document;
    return activeElement.matches(".dots") && activeElement.closest("article").querySelector(".bubble").textContent === "two";
  });

  // Of what is gone nothing can have it: then all that was said has it.
  await ann.page.keyboard.press("Enter");
  for (const asked of ["Delete", "Really delete it for everybody?"]) {
    await ann.page.getByRole("dialog", { name: "Ann: two" }).getByRole("button", { name: asked }).click();
  }
  await article(ann, "two").waitFor({ state: "detached" });
  await ann.page.waitForFunction(() => document.activeElement.role === "log");

  // So too where somebody else takes it away, whose menu is open.
  await menu(bob, "one");
  const erased = await menu(ann, "one");
  for (const asked of ["Delete", "Really delete it for everybody?"]) {
    await erased.getByRole("button", { name: asked }).click();
  }
  await article(bob, "one").waitFor({ state: "detached" });
  await bob.page.keyboard.press("Escape");
  await bob.page.waitForFunction(() => document.activeElement.role === "log");
  await ann.leave();
  await bob.leave();
});

/** Turns to somebody, by a message of theirs. */
async function turn(person, text, name) {
  await (await menu(person, text)).getByRole("button", { name: `More about ${name} …` }).click();
  return person.page.getByRole("dialog");
}

test("two talk by themselves, and whoever is written to finds the conversation", async () => {
  const [ann, bob] = await two("aside");
  await ann.say("I am here");
  await bob.sees(1);
  await (await turn(bob, "I am here", "Ann")).getByRole("button", { name: "Write to Ann" }).click();
  await bob.page.getByRole("heading", { name: "Ann", exact: true, level: 1 }).waitFor();
  await bob.say("between us");
  const link = ann.page.locator(part("rooms")).getByRole("link", { name: /^Bob/ });
  await link.filter({ hasText: "between us" }).waitFor();
  await link.click();
  assert.deepEqual(await ann.sees(1), [{ name: "Bob", text: "between us" }]);
  await ann.say("and nobody else");
  assert.deepEqual((await bob.sees(2)).map(({ text }) => text), ["between us", "and nobody else"]);
  // It is there again after a reload.
  await ann.page.reload();
  await ann.connected();
  await ann.page.getByRole("heading", { name: "Bob", exact: true, level: 1 }).waitFor();
  await ann.sees(2);
  await ann.leave();
  await bob.leave();
});

test("a private room is found by whom one invites", async () => {
  const [ann, bob] = await two("outside");
  await bob.say("I am here");
  await ann.sees(1);
  await ann.page.getByRole("button", { name: "New private room" }).click();
  await ann.page.getByLabel("What it is called").fill("Ours");
  await ann.page.getByRole("button", { name: "Make the room" }).click();
  await ann.page.getByRole("heading", { name: "Ours", exact: true, level: 1 }).waitFor();
  await ann.say("first");
  await ann.page.evaluate(() => (location.hash = "outside"));
  await (await turn(ann, "I am here", "Bob")).getByRole("button", { name: "Invite to “Ours”" }).click();
  await ann.page.getByText("Invited: Bob").waitFor();
  await ann.page.keyboard.press("Escape");
  await bob.page.getByText("Ann invites you to “Ours”").waitFor();
  await bob.page.locator(part("invited")).getByRole("button", { name: "Join" }).click();
  await bob.page.getByRole("heading", { name: "Ours", exact: true, level: 1 }).waitFor();
  assert.deepEqual(await bob.sees(1), [{ name: "Ann", text: "first" }]);
  assert.equal(await bob.page.locator(part("invited")).isVisible(), false);
  // Whoever leaves such a room is asked first.
  await bob.page.getByRole("button", { name: "Leave the room" }).click();
  const out = bob.page.getByRole("dialog", { name: "Leave “Ours”?" });
  await out.waitFor();
  await bob.page.keyboard.press("Escape");
  await bob.page.getByRole("heading", { name: "Ours", exact: true, level: 1 }).waitFor();
  await bob.page.getByRole("button", { name: "Leave the room" }).click();
  await out.getByRole("button", { name: "Leave the room" }).click();
  await bob.page.locator(part("rooms")).getByRole("link", { name: /^Ours/ }).waitFor({ state: "detached" });
  await ann.leave();
  await bob.leave();
});

test("who keeps order in a room mutes and bans", async () => {
  const [ann, bob] = await two("order");
  await bob.say("I am here");
  await ann.sees(1);
  await ann.page.getByRole("button", { name: "New private room" }).click();
  await ann.page.getByLabel("What it is called").fill("Orderly");
  await ann.page.getByRole("button", { name: "Make the room" }).click();
  await ann.page.getByRole("heading", { name: "Orderly", exact: true, level: 1 }).waitFor();
  await ann.page.evaluate(() => (location.hash = "order"));
  await (await turn(ann, "I am here", "Bob")).getByRole("button", { name: "Invite to “Orderly”" }).click();
  await bob.page.locator(part("invited")).getByRole("button", { name: "Join" }).click();
  await bob.page.getByRole("heading", { name: "Orderly", exact: true, level: 1 }).waitFor();
  await ann.page.keyboard.press("Escape");
  await ann.page.locator(part("rooms")).getByRole("link", { name: /^Orderly/ }).click();
  await bob.say("noise");
  await ann.sees(1);

  await (await turn(ann, "noise", "Bob")).getByRole("button", { name: "Mute for ten minutes" }).click();
  await ann.page.getByText("Done.").waitFor();
  await bob.say("may I?");
  await bob.page.getByRole("log").getByText("Not sent: you may not write in this room.").waitFor();
  const dialog = ann.page.getByRole("dialog");
  await dialog.getByRole("button", { name: "Ban" }).click();
  await dialog.getByRole("button", { name: "Really ban Bob?" }).click();
  await bob.page.getByText("You may not read this room.").first().waitFor();
  await ann.leave();
  await bob.leave();
});

test("who keeps order lets people in from the list, slows them down, and takes back what was done", async () => {
  const [ann, bob] = await two("list");
  await bob.say("I am here");
  await ann.sees(1);
  await ann.page.getByRole("button", { name: "New private room" }).click();
  await ann.page.getByLabel("What it is called").fill("Listed");
  await ann.page.getByRole("button", { name: "Make the room" }).click();
  await ann.page.getByRole("heading", { name: "Listed", exact: true, level: 1 }).waitFor();
  const people = ann.page.getByRole("dialog", { name: "People in “Listed”" });
  const list = async () => {
    await ann.page.getByRole("button", { name: /here$/ }).click();
    await people.waitFor();
  };
  const about = async (name) => {
    await list();
    await people.getByRole("button", { name: new RegExp(`${name}`) }).first().click();
    return ann.page.getByRole("dialog").filter({ hasText: `Write to ${name}` });
  };
  const close = () => ann.page.keyboard.press("Escape");

  await list();
  await people.locator(part("inviting")).getByRole("button", { name: "Bob" }).click();
  await people.getByText("Invited: Bob").waitFor();
  await close();
  await bob.page.locator(part("invited")).getByRole("button", { name: "Join" }).click();
  await bob.page.getByRole("heading", { name: "Listed", exact: true, level: 1 }).waitFor();

  await list();
  await people.getByRole("radio", { name: "10 s" }).check();
  await people.getByText("Done.").waitFor();
  await close();
  await bob.say("first");
  await ann.sees(1);
  await bob.say("second");
  await bob.page.locator("[role=log] article.waiting").getByText("second").waitFor();
  await ann.page.getByRole("log").getByText("second").waitFor();
  await list();
  await people.getByRole("radio", { name: "no wait" }).check();
  await people.getByText("Done.").waitFor();
  await close();

  await (await about("Bob")).getByRole("button", { name: "Mute for ten minutes" }).click();
  await ann.page.getByText("Done.").first().waitFor();
  await close();
  await list();
  await people.getByRole("button", { name: "Let Bob speak" }).click();
  await people.getByText("Done.").waitFor();
  await people.getByRole("button", { name: "Let Bob speak" }).waitFor({ state: "detached" });
  await close();
  await bob.say("heard again");
  await ann.page.getByRole("log").getByText("heard again").waitFor();

  const dialog = await about("Bob");
  await dialog.getByRole("button", { name: "Ban" }).click();
  await dialog.getByRole("button", { name: "Really ban Bob?" }).click();
  await bob.page.getByText("You may not read this room.").first().waitFor();
  await close();
  await list();
  await people.getByRole("button", { name: "Let Bob back in" }).click();
  await people.getByRole("button", { name: "Let Bob back in" }).waitFor({ state: "detached" });
  await ann.leave();
  await bob.leave();
});

test("a message that is shown before the page knows what can be done with it gets its menu", async () => {
  const ann = await Person.at(browser, host, "early");
  await ann.enter("Ann");
  await ann.say("before");
  await ann.sees(1);
  const bob = await Person.open(browser);
  let hear;
  const question = new Promise((resolve) => (hear = resolve));
  await bob.page.routeWebSocket(/\/witter\/websocket/, (page) => {
    const server = page.connectToServer();
    page.onMessage((message) => {
      if (message.includes('"me"')) hear(() => server.send(message));
      else server.send(message);
    });
  });
  await bob.page.goto(`${host.url}/#early`);
  await bob.enter("Bob");
  const ask = await question;
  await bob.sees(1);
  await bob.say("meanwhile");
  await ann.sees(2);
  ask();
  await bob.page.locator("article .dots").nth(1).waitFor({ state: "attached" });
  await ann.leave();
  await bob.leave();
});

test("axe-core finds nothing to complain about in what opens, on a desktop and on a phone", async () => {
  const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, colorScheme: "dark", locale: "zh-CN" };
  const ann = await Person.at(browser, host, "looks");
  await ann.enter("Ann");
  await ann.say("Look at this");
  await ann.sees(1);
  for (const options of [{}, PHONE]) {
    const bob = await Person.open(browser, { ...options, reducedMotion: "reduce" });
    await bob.page.addInitScript({ path: AXE });
    await bob.page.goto(`${host.url}/#looks`);
    await bob.page.locator(part("name")).fill("Bob");
    await bob.page.keyboard.press("Enter");
    const { page } = bob;
    const looksGood = async (what) => {
      const found = await page.evaluate(async () => {
        const { violations } = await globalThis.axe.run(document, { rules: { "target-size": { enabled: true } } });
        return violations.map(({ id, nodes }) => ({ id, nodes: nodes.map(({ html, failureSummary }) => [html, failureSummary]) }));
      });
      assert.deepEqual(found, [], what);
      const small = await page.evaluate(() =>
        Array.from(document.querySelectorAll("button, input:not([type=radio])"), (one) => {
          const { width, height } = one.getBoundingClientRect();
          return { what: one.className || one.textContent, width, height, seen: one.checkVisibility({ visibilityProperty: true }) };
        }).filter(({ width, height, seen, what }) => seen && what !== "" && (width < 43.9 || height < 43.9)),
      );
      assert.deepEqual(small, [], what);
    };
    await page.locator(".dots").last().waitFor({ state: "attached" });
    await looksGood("a room");
    const act = async () => {
      await page.locator("article").first().hover();
      await page.locator(".dots").first().click();
      await page.locator(part("act")).waitFor();
    };
    await act();
    await looksGood("the menu of a message");
    await page.locator(part("reactions button")).nth(options === PHONE ? 1 : 0).click();
    await page.locator("article footer button").first().waitFor();
    await act();
    await page.locator(part("acts button")).first().click();
    await page.locator(part("about")).waitFor();
    await looksGood("an answer that is being written");
    await page.locator(part("text")).fill("Seen");
    await page.locator(part("send")).click();
    await page.locator("blockquote").first().waitFor();
    await looksGood("an answer, and reactions");
    await act();
    await page.locator(part("acts button")).last().click();
    await page.locator(part("person")).waitFor();
    await looksGood("somebody");
    await page.keyboard.press("Escape");
    if (!(await page.locator(part("open-new")).isVisible())) await page.locator(part("open-rooms")).click();
    await page.locator(part("open-new")).click();
    await page.locator(part("new")).waitFor();
    await looksGood("a new room");
    await bob.leave();
  }
  await ann.leave();
});
