// axe-core finds nothing to complain about on the chat page, in whichever state it is.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";

import { guest } from "./guest.js";
import { Host } from "./host.js";
import { Person, launchWhole, part } from "./person.js";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

let host, browser;
before(async () => {
  host = await Host.start({ guest_channels: "talk,kitchen,empty" });
  browser = await launchWhole();
  const ann = await guest(host, "Ann");
  const bob = await guest(host, "Bob");
  for (let number = 1; number <= 60; number++) {
    await (number % 3 ? ann : bob).say("talk", JSON.stringify({ text: `See https://example.org/${number}` }));
  }
  await bob.say("talk", JSON.stringify({ text: "word ".repeat(500) }));
  await bob.say("talk", `{"text":"🎉"}`);
});
after(async () => {
  await browser?.close();
  await host?.stop();
});

const DESKTOP = { viewport: { width: 1280, height: 800 } };
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };
const NARROW = { ...PHONE, viewport: { width: 320, height: 568 } };

/** How people look at the page. */
const LOOKS = {
  "desktop": DESKTOP,
  "desktop, dark": { ...DESKTOP, colorScheme: "dark" },
  "desktop, Chinese": { ...DESKTOP, locale: "zh-CN" },
  "desktop, forced colours": { ...DESKTOP, forcedColors: "active" },
  "phone": PHONE,
  "phone, dark, Chinese": { ...PHONE, colorScheme: "dark", locale: "zh-CN" },
  "narrow phone": NARROW,
};

async function enter({ page }) {
  await page.locator(part("name")).fill("Carol");
  await page.keyboard.press("Enter");
  await page.locator(part("chip.live")).waitFor();
}

const closed = ({ page }) => page.keyboard.press("Escape");
const opened = (opener, shown) => async ({ page }) => {
  const button = page.locator(part(opener));
  if (!(await button.isVisible())) await page.locator(part("open-rooms")).click();
  await button.click();
  await page.locator(part(shown)).waitFor();
};

/** What they come past, one after the other. */
const STATES = {
  "asking for a name": async () => {},
  "a name that is none": ({ page }) => page.keyboard.press("Enter"),
  "a room": async (person) => {
    await enter(person);
    await person.sees(50);
  },
  "scrolled up, with something new": async ({ page }) => {
    await page.locator(part("log")).evaluate((log) => (log.scrollTop -= 900));
    await (await guest(host, "Bob")).say("talk", `{"text":"new"}`);
    await page.locator(part("latest")).filter({ hasText: "1" }).waitFor();
  },
  "the newest": async ({ page }) => {
    await page.locator(part("latest")).click();
    await page.locator(part("latest")).waitFor({ state: "hidden" });
  },
  "the connection": opened("chip", "connection"),
  "one way blocked": async ({ page }) => {
    await page.getByRole("checkbox").first().uncheck();
    await page.locator(part("chip.live")).filter({ hasText: "sse" }).waitFor();
  },
  "closed again": closed,
  "emoji": opened("open-emoji", "emoji"),
  "without them": closed,
  "settings": opened("open-settings", "settings"),
  "out of settings": closed,
  "the keyboard": opened("open-keys", "keys"),
  "out of the keyboard": closed,
  "another room, empty": async ({ page }) => {
    await page.evaluate(() => (location.hash = "empty"));
    await page.locator(".top.empty").waitFor();
    await (await guest(host, "Bob")).say("talk", `{"text":"elsewhere"}`);
    await page.locator(part("rooms .count")).waitFor({ state: "attached" });
  },
  "the rooms": async ({ page }) => {
    const button = page.locator(part("open-rooms"));
    if (await button.isVisible()) await button.click();
    await page.locator(part("rooms .count")).waitFor();
  },
  "a room that is none": async ({ page }) => {
    await page.locator(part("room")).fill("a b");
    await page.locator(part("room")).press("Enter");
    await page.locator(part("no-room")).filter({ hasText: /./ }).waitFor();
  },
  "without the rooms": async ({ page }) => {
    await page.keyboard.press("Escape");
    await page.locator(part("talk:not([inert])")).waitFor();
  },
  "refused": async (person) => {
    await person.page.evaluate(() => (location.hash = "news"));
    await person.page.locator(part("where")).filter({ hasText: "news" }).waitFor();
    await person.page.locator(part("text")).fill("May I?");
    await person.page.locator(part("send")).click();
    await person.page.locator("article.failed").waitFor();
  },
  "forbidden": async ({ page }) => {
    await page.evaluate(() => (location.hash = "@staff"));
    await page.locator(part("say")).waitFor({ state: "hidden" });
  },
};

/** Everything that can be pressed can be hit with a finger: 44 pixels (WCAG 2.2, 2.5.5), but for links in a text. */
const small = (page) =>
  page.evaluate(() =>
    Array.from(document.querySelectorAll("button, a, input, textarea, label:has(input)"), (one) => {
      const target = one.closest("label") ?? one;
      const { width, height } = target.getBoundingClientRect();
      const aside = one.closest("[role=log] p") || !one.checkVisibility({ visibilityProperty: true });
      return { what: one.id || one.textContent, width, height, aside };
    }).filter(({ width, height, aside }) => !aside && (width < 43.9 || height < 43.9)),
  );

for (const [look, options] of Object.entries(LOOKS)) {
  test(`on a ${look} everybody gets along`, async (t) => {
    // What moves is in between: contrast is that of where it comes to.
    const person = await Person.open(browser, { ...options, reducedMotion: "reduce" });
    await person.page.addInitScript({ path: AXE });
    await person.page.goto(`${host.url}/#talk`);
    for (const [state, act] of Object.entries(STATES)) {
      await t.test(state, async () => {
        await act(person);
        const violations = await person.page.evaluate(async () => {
          const rules = { "target-size": { enabled: true } };
          const { violations } = await globalThis.axe.run(document, { rules });
          return violations.map(({ id, nodes }) => ({ id, nodes: nodes.map(({ html, failureSummary }) => [html, failureSummary]) }));
        });
        assert.deepEqual(violations, []);
        assert.deepEqual(await small(person.page), []);
      });
    }
    await person.leave();
  });
}
