// Pictures of the page as people see it, in target/screenshots: for the README, and for one's own eyes.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";

import { Host, ROOT } from "./host.js";
import { Person, launch } from "./person.js";
import { PAGES } from "./visitor.js";

const FOLDER = path.join(ROOT, "target/screenshots");
const DESKTOP = { viewport: { width: 960, height: 640 }, deviceScaleFactor: 2 };
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 3, hasTouch: true, isMobile: true };
const HALF = { viewport: { width: 520, height: 600 }, deviceScaleFactor: 2 };

const VIEWS = {
  desktop: DESKTOP,
  "desktop-dark": { ...DESKTOP, colorScheme: "dark" },
  phone: PHONE,
  "phone-dark": { ...PHONE, colorScheme: "dark" },
  narrow: { ...PHONE, viewport: { width: 320, height: 568 } },
};

const TALK = [
  ["Ann", "Is anybody still up?"],
  ["Bob", "I am. Which way did you come in?"],
  ["Ann", "Over a proxy that cuts everything after 30 seconds. I have not missed a word."],
  ["Bob", "Long polling, from a train."],
  ["Ann", "Good night then!"],
];

let host, browser;
before(async () => {
  await mkdir(FOLDER, { recursive: true });
  host = await Host.start();
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

/** Two people who have come into the lobby. */
async function meet(options) {
  const Ann = await Person.at(browser, host, "lobby", options);
  const Bob = await Person.at(browser, host, "lobby", options);
  await Promise.all([Ann.enter("Ann"), Bob.enter("Bob")]);
  return { Ann, Bob };
}

test("the page fits every screen, by day and by night", async (t) => {
  const { Ann, Bob } = await meet(HALF);
  for (const [index, [name, text]] of TALK.entries()) {
    await { Ann, Bob }[name].say(text);
    await Promise.all([Ann.sees(index + 1), Bob.sees(index + 1)]);
  }

  await t.test("two windows side by side", async () => {
    const pictures = await Promise.all([Ann, Bob].map(({ page }) => page.screenshot()));
    const both = await browser.newPage({ viewport: { width: 1120, height: 648 }, deviceScaleFactor: 2 });
    const images = pictures.map((picture) => `<img src="data:image/png;base64,${picture.toString("base64")}">`);
    await both.setContent(`<style>
      body { margin: 0; height: 100vh; display: flex; gap: 24px; align-items: center; justify-content: center; background: #d5dedb }
      img { width: 520px; border-radius: 10px; box-shadow: 0 2px 16px #0004 }
    </style>${images.join("")}`);
    await save(both, "chat");
    await both.close();
  });

  for (const [name, options] of Object.entries(VIEWS)) {
    await t.test(name, async () => {
      const carol = await Person.at(browser, host, "lobby", options);
      await save(carol.page, `${name}-welcome`);
      await carol.enter("Carol");
      await carol.sees(TALK.length);
      await save(carol.page, name);
      await fits(carol.page);
      await carol.leave();
    });
  }
  await Ann.leave();
  await Bob.leave();
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
