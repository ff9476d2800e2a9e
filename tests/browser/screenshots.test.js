// Pictures of the page as people see it, in target/screenshots: for the README, and for one's own eyes.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";

import { guest } from "./guest.js";
import { Host, ROOT } from "./host.js";
import { Person, launch, part } from "./person.js";
import { PAGES } from "./visitor.js";

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
  ["Bob", "Long polling, from a train 🚆 See https://en.wikipedia.org/wiki/Comet_(programming)"],
  ["Mei", "你们好！我刚从隧道里出来。"],
  ["Bob", "🎉"],
  ["Ann", "Nothing lost, nothing doubled. Good night then!"],
];

let host, browser;
before(async () => {
  await mkdir(FOLDER, { recursive: true });
  host = await Host.start({ guest_channels: "lobby,kitchen,travel,empty" });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await host?.stop();
});

const save = (page, name) => page.screenshot({ path: path.join(FOLDER, `${name}.png`) });

/** Nobody has to scroll sideways. */
async function fits(page) {
  const { wide, has } = await page.evaluate(() => ({
    wide: document.documentElement.scrollWidth,
    has: document.documentElement.clientWidth,
  }));
  assert.ok(wide <= has, `${wide} px of page in ${has} px of window`);
}

/** A talk that goes on in the lobby, and what is said elsewhere. */
async function talk() {
  const people = Object.fromEntries(
    await Promise.all(["Ann", "Bob", "Mei"].map(async (name) => [name, await guest(host, name)])),
  );
  const say = (name, room, text) => people[name].say(room, JSON.stringify({ text }));
  for (const [name, text] of TALK) await say(name, "lobby", text);
  await say("Mei", "travel", "The pass is open again.");
  await say("Bob", "kitchen", "The kettle is on.");
  return say;
}

test("the chat fits every screen, by day and by night, in every state", async (t) => {
  const say = await talk();
  for (const [name, options] of Object.entries(VIEWS)) {
    await t.test(name, async () => {
      const carol = await Person.at(browser, host, "lobby", { ...options, reducedMotion: "reduce" });
      const { page } = carol;
      const shoot = async (state) => {
        await fits(page);
        await save(page, `${name}-${state}`);
      };
      const go = async (room) => {
        await page.evaluate((room) => (location.hash = room), room);
        await page.locator(part("where")).filter({ hasText: room }).waitFor();
        await page.locator(`${part("rooms")} [aria-current] .last`).filter({ hasText: /./ }).waitFor({ state: "attached" });
      };
      await shoot("welcome");
      await page.locator(part("name")).fill("Carol");
      await page.keyboard.press("Enter");
      await page.locator(part("chip.live")).waitFor();
      for (const room of ["kitchen", "travel", "lobby"]) await go(room);
      await say("Bob", "kitchen", "Tea is ready ☕");
      await say("Mei", "kitchen", "Coming!");
      await page.locator(`${part("rooms")} .count`).filter({ hasText: "2" }).waitFor({ state: "attached" });
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
      await go("empty");
      await shoot("empty");
      await go("news");
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
    });
  }
});

test("the examples fit every screen, by day and by night", async (t) => {
  for (const [name, options] of Object.entries(VIEWS)) {
    await t.test(name, async () => {
      const ann = await Person.open(browser, options);
      await ann.page.goto(`${host.url}/examples/`);
      await fits(ann.page);
      await ann.page.screenshot({ path: path.join(FOLDER, `examples-${name}.png`), fullPage: true });
      for (const { page } of PAGES) {
        await ann.page.goto(`${host.url}/examples/${page}.html`);
        await fits(ann.page);
      }
      await ann.enter("Ann");
      await save(ann.page, `example-${name}`);
      await ann.leave();
    });
  }
});
