// The page fits whatever people see it on. `WITTER_SCREENSHOTS=1` saves pictures of it in target/screenshots, which takes
// longer: for the README, and for one's own eyes.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";

import { guest } from "./guest.js";
import { Host, ROOT } from "./host.js";
import { Person, launch, launchWhole, part } from "./person.js";
import { PAGES } from "./visitor.js";

const SAVES = Boolean(process.env.WITTER_SCREENSHOTS);
const FOLDER = path.join(ROOT, "target/screenshots");
const DESKTOP = { viewport: { width: 1280, height: 800 }, deviceScaleFactor: 2 };
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };

const VIEWS = {
  desktop: DESKTOP,
  "desktop-dark": { ...DESKTOP, colorScheme: "dark" },
  "desktop-chinese": { ...DESKTOP, locale: "zh-CN" },
  phone: PHONE,
  "phone-dark": { ...PHONE, colorScheme: "dark" },
  narrow: { ...PHONE, viewport: { width: 320, height: 568 } },
};

/** Who says what, in the lobby. */
const TALK = [
  ["Ann", "Is anybody still up?"],
  ["Bob", "I am. Which way did you come in?"],
  ["Ann", "Over a proxy that cuts everything after 30 seconds."],
  ["Ann", "I have not missed a word."],
  ["Bob", "Long polling, from a train 🚆"],
  ["Bob", "It is all in https://en.wikipedia.org/wiki/Comet_(programming)"],
  ["Mei", "你们好！我刚从隧道里出来。"],
  ["Ann", "Nothing lost, nothing doubled 🎉"],
  ["Bob", "👏"],
];

let browser;
before(async () => {
  if (SAVES) await mkdir(FOLDER, { recursive: true });
  browser = await (SAVES ? launchWhole : launch)();
});
after(() => browser?.close());

/** Saves a picture, where somebody asked for it. */
async function save(page, name, options = {}) {
  if (SAVES) await page.screenshot({ path: path.join(FOLDER, `${name}.png`), ...options });
}

/** Nobody has to scroll sideways. */
async function fits(page) {
  const { wide, has } = await page.evaluate(() => ({
    wide: document.documentElement.scrollWidth,
    has: document.documentElement.clientWidth,
  }));
  assert.ok(wide <= has, `${wide} px of page in ${has} px of window`);
}

/** A host of its own, on which a few talk who have no window; `say` takes who says what where. */
async function company() {
  const host = await Host.start({ guest_channels: "lobby,kitchen,travel,empty" });
  const people = {};
  const say = async (name, room, text) => {
    people[name] ??= await guest(host, name);
    await people[name].say(room, JSON.stringify({ text }));
  };
  await say("Mei", "travel", "The pass is open again.");
  await say("Bob", "kitchen", "The kettle is on.");
  return { host, say };
}

/** Goes into a room, and waits until it is there. */
async function go({ page }, room) {
  await page.evaluate((room) => (location.hash = room), room);
  await page.locator(part("where")).filter({ hasText: room }).waitFor();
  const last = page.locator(`${part("rooms")} [aria-current] .last`);
  await last.filter({ hasText: /./ }).waitFor({ state: "attached" });
}

/** Something is new in the kitchen, as one sees in another room. */
async function calls({ page }, say) {
  await say("Bob", "kitchen", "Tea is ready ☕");
  await say("Mei", "kitchen", "Coming!");
  await page.locator(`${part("rooms")} .count`).filter({ hasText: "2" }).waitFor({ state: "attached" });
}

test("two people talk, at a desk by day and on a phone by night", async () => {
  const { host, say } = await company();
  const people = {
    Ann: await Person.at(browser, host, "lobby", { ...DESKTOP, viewport: { width: 1000, height: 760 } }),
    Bob: await Person.at(browser, host, "lobby", { ...PHONE, colorScheme: "dark" }),
  };
  for (const [name, person] of Object.entries(people)) {
    await person.enter(name);
    if (name === "Ann") for (const room of ["kitchen", "travel", "lobby"]) await go(person, room);
  }
  await people.Bob.allow("long-polling");
  for (const [at, [name, text]] of TALK.entries()) {
    if (people[name]) {
      await people[name].page.locator(part("text")).fill(text);
      await people[name].page.locator(part("send")).click();
    } else await say(name, "lobby", text);
    for (const person of Object.values(people)) await person.sees(at + 1);
  }
  await calls(people.Ann, say);
  for (const { page } of Object.values(people)) await fits(page);
  if (SAVES) await saveBoth(Object.values(people));
  for (const person of Object.values(people)) await person.leave();
  await host.stop();
});

/** Saves a picture of one at a desk, and of another's phone before it. */
async function saveBoth(people) {
  const pictures = await Promise.all(people.map(({ page }) => page.screenshot()));
  const both = await browser.newPage({ viewport: { width: 1460, height: 840 }, deviceScaleFactor: 1.5 });
  const [desk, phone] = pictures.map((picture) => `<img src="data:image/png;base64,${picture.toString("base64")}">`);
  await both.setContent(`<style>
    body { margin: 0; height: 100vh; position: relative; background: #c9d6d1 }
    img { position: absolute; box-shadow: 0 8px 32px #0005 }
    img:first-of-type { width: 1000px; left: 40px; top: 40px; border-radius: 12px }
    img:last-of-type { width: 340px; right: 40px; bottom: 40px; border-radius: 28px }
  </style>${desk}${phone}`);
  await save(both, "chat");
  await both.close();
}

test("the chat fits every screen, by day and by night, in every state", async (t) => {
  for (const [name, options] of Object.entries(VIEWS)) {
    await t.test(name, async () => {
      const { host, say } = await company();
      for (const [name, text] of TALK) await say(name, "lobby", text);
      const carol = await Person.at(browser, host, "lobby", { ...options, reducedMotion: "reduce" });
      const { page } = carol;
      const shoot = async (state) => {
        await fits(page);
        await save(page, `${name}-${state}`);
      };
      await shoot("welcome");
      await page.locator(part("name")).fill("Carol");
      await page.keyboard.press("Enter");
      await page.locator(part("chip.live")).waitFor();
      for (const room of ["kitchen", "travel", "lobby"]) await go(carol, room);
      await calls(carol, say);
      await page.locator(part("text")).fill("Good night, all of you 👋");
      await page.locator(part("send")).click();
      await carol.sees(TALK.length + 1);
      await shoot("room");
      await page.locator(part("open-emoji")).click();
      await shoot("emoji");
      await page.keyboard.press("Escape");
      await page.locator(part("chip")).click();
      await page.getByRole("checkbox").first().uncheck();
      await page.locator(part("chip.live")).filter({ hasText: "sse" }).waitFor();
      await shoot("connection");
      await page.keyboard.press("Escape");
      await go(carol, "empty");
      await shoot("empty");
      await go(carol, "news");
      await page.locator(part("text")).fill("May I?");
      await page.locator(part("send")).click();
      await page.locator("article.failed").waitFor();
      await shoot("failed");
      for (const dialog of ["settings", "keys"]) {
        const opener = page.locator(part(`open-${dialog}`));
        if (!(await opener.isVisible())) {
          await page.locator(part("open-rooms")).click();
          await shoot("rooms");
        }
        await opener.click();
        await shoot(dialog);
        await page.keyboard.press("Escape");
      }
      await carol.leave();
      await host.stop();
    });
  }
});

test("the examples fit every screen, by day and by night", async (t) => {
  const host = await Host.start();
  for (const [name, options] of Object.entries(VIEWS)) {
    await t.test(name, async () => {
      const ann = await Person.open(browser, options);
      await ann.page.goto(`${host.url}/examples/`);
      await fits(ann.page);
      await save(ann.page, `examples-${name}`, { fullPage: true });
      for (const { page } of PAGES) {
        await ann.page.goto(`${host.url}/examples/${page}.html`);
        await fits(ann.page);
      }
      await ann.enter("Ann");
      await save(ann.page, `example-${name}`);
      await ann.leave();
    });
  }
  await host.stop();
});
