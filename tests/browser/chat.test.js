// People talk on the page that the built host serves.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Curl } from "./curl.js";
import { guest } from "./guest.js";
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

const said = (messages) => messages.map(({ name, text }) => `${name}: ${text}`);
const heard = (envelopes) => envelopes.map(({ name, body }) => `${name}: ${body.text}`);

test("two people talk, and curl hears them", async () => {
  const ann = await Person.at(browser, host, "two");
  const bob = await Person.at(browser, host, "two");
  await Promise.all([ann.enter("Ann"), bob.enter("Bob")]);
  const curl = await Curl.follow(host, "two");

  await ann.say("Hello Bob");
  await bob.sees(1);
  await bob.say("Hello Ann");
  const expected = ["Ann: Hello Bob", "Bob: Hello Ann"];
  assert.deepEqual(said(await ann.sees(2)), expected);
  assert.deepEqual(said(await bob.sees(2)), expected);
  assert.deepEqual(heard(await curl.messages(2)), expected);

  curl.stop();
  await ann.leave();
  await bob.leave();
});

test("everybody sees one order, whoever talks at once", async () => {
  const people = await Promise.all(["Ann", "Bob"].map(async (name) => {
    const person = await Person.at(browser, host, "order");
    await person.enter(name);
    return { name, person };
  }));
  const curl = await Curl.follow(host, "order");

  const each = 10;
  await Promise.all(people.map(async ({ person }) => {
    for (let number = 1; number <= each; number++) await person.say(`number ${number}`);
  }));
  const order = heard(await curl.messages(2 * each));
  for (const { name, person } of people) {
    assert.deepEqual(said(await person.sees(2 * each)), order);
    const own = order.filter((line) => line.startsWith(`${name}:`));
    assert.deepEqual(own, Array.from({ length: each }, (_, at) => `${name}: number ${at + 1}`));
  }

  curl.stop();
  for (const { person } of people) await person.leave();
});

test("who comes later sees what was said before", async () => {
  const ann = await Person.at(browser, host, "later");
  await ann.enter("Ann");
  for (const text of ["one", "two", "three"]) await ann.say(text);
  await ann.sees(3);

  const carol = await Person.at(browser, host, "later");
  await carol.enter("Carol");
  const expected = ["Ann: one", "Ann: two", "Ann: three"];
  assert.deepEqual(said(await carol.sees(3)), expected);

  await ann.leave();
  await carol.leave();
});

test("what looks like HTML is shown as text", async () => {
  const hostile = [
    `</script><img src=x onerror="window.broken = true">`,
    `<b>bold</b> &amp; "quoted" 'too' \u2028 and \u2029 there`,
    `"}\n\ndata: {}\n\nevent: end`,
    "😀 שלום \u0000 end",
  ];
  const name = "<img src=x onerror=window.broken=true>";
  const mallory = await Person.at(browser, host, "hostile");
  const bob = await Person.at(browser, host, "hostile");
  await Promise.all([mallory.enter(name), bob.enter("Bob")]);

  for (const text of hostile) await mallory.say(text);
  for (const person of [mallory, bob]) {
    const messages = await person.sees(hostile.length);
    assert.deepEqual(messages, hostile.map((text) => ({ name, text })));
    const broken = await person.page.evaluate(() => ({
      ran: "broken" in window,
      elements: document.querySelectorAll("[role=log] :is(img, b, script)").length,
    }));
    assert.deepEqual(broken, { ran: false, elements: 0 });
    await person.leave();
  }
});

test("rooms are apart", async () => {
  const ann = await Person.at(browser, host, "kitchen");
  const bob = await Person.at(browser, host, "garden");
  await Promise.all([ann.enter("Ann"), bob.enter("Bob")]);

  await ann.say("in the kitchen");
  await ann.sees(1);
  await bob.say("in the garden");
  assert.deepEqual(said(await bob.sees(1)), ["Bob: in the garden"]);
  await bob.join("kitchen");
  await bob.page.getByRole("log").getByText("in the kitchen").waitFor();
  assert.deepEqual(said(await bob.sees(1)), ["Ann: in the kitchen"]);

  await ann.leave();
  await bob.leave();
});

test("a window that is loaded again is still the same person", async () => {
  const ann = await Person.at(browser, host, "again");
  await ann.enter("Ann");
  await ann.say("before");
  await ann.sees(1);
  await ann.page.reload();
  await ann.connected();
  await ann.say("after");
  assert.deepEqual(said(await ann.sees(2)), ["Ann: before", "Ann: after"]);
  await ann.leave();
});

test("what is said while the host is away arrives when it is back, once", async () => {
  const ann = await Person.at(browser, host, "away");
  const bob = await Person.at(browser, host, "away");
  await Promise.all([ann.enter("Ann"), bob.enter("Bob")]);
  await ann.say("before");
  await bob.sees(1);

  await host.kill();
  await bob.page.getByRole("status").filter({ hasText: /^(Connecting|Offline)/ }).waitFor();
  await ann.say("while away");
  await host.start();
  await Promise.all([ann.connected(), bob.connected()]);
  await bob.sees(2);
  await bob.say("after");
  const expected = ["Ann: before", "Ann: while away", "Bob: after"];
  assert.deepEqual(said(await ann.sees(3)), expected);
  assert.deepEqual(said(await bob.sees(3)), expected);

  await ann.leave();
  await bob.leave();
});

test("several rooms are followed at once, and tell what was missed", async () => {
  const ann = await Person.at(browser, host, "attic");
  const sockets = [];
  ann.page.on("websocket", (socket) => sockets.push(socket));
  await ann.enter("Ann");
  await ann.page.getByRole("log").getByText("Nothing has been said").waitFor();
  await ann.join("cellar");
  await ann.say("down here");
  await ann.sees(1);
  const bob = await guest(host, "Bob");
  for (const number of [1, 2, 3]) await bob.say("attic", `{"text":"number ${number}"}`);

  const attic = ann.page.getByRole("navigation").getByRole("link", { name: /^attic/ });
  await attic.filter({ hasText: "3 unread messages" }).filter({ hasText: "Bob: number 3" }).waitFor();
  await ann.page.waitForFunction(() => document.title === "(3) cellar – Witter");
  assert.equal(sockets.length, 1, "one connection for all");
  await attic.click();
  assert.deepEqual(said(await ann.sees(3)), [1, 2, 3].map((number) => `Bob: number ${number}`));
  assert.deepEqual(await below(ann, "New"), ["Bob: number 1", "Bob: number 2", "Bob: number 3"]);
  await ann.page.waitForFunction(() => document.title === "attic – Witter");
  await attic.filter({ hasNotText: "unread" }).waitFor();

  await ann.page.getByRole("button", { name: "Leave the room" }).click();
  await ann.page.getByRole("heading", { name: "cellar", exact: true }).waitFor();
  assert.equal(await attic.count(), 0);
  assert.equal(new URL(ann.page.url()).hash, "#cellar");
  await ann.leave();
});

/** What is said below a line across the room. */
async function below(person, line) {
  await person.page.getByRole("log").getByText(line, { exact: true }).waitFor();
  return person.page.getByRole("log").evaluate((log, line) => {
    const rows = [...log.children];
    const below = rows.slice(rows.findIndex(({ textContent }) => textContent === line) + 1);
    return below.map((row) => `${row.querySelector("bdi").textContent}: ${row.querySelector("p").textContent}`);
  }, line);
}

test("a room that cannot be is not gone to", async () => {
  const ann = await Person.at(browser, host, "here");
  await ann.enter("Ann");
  await ann.page.getByLabel("Room", { exact: true }).fill("a room");
  await ann.page.getByLabel("Room", { exact: true }).press("Enter");
  await ann.page.getByRole("alert").filter({ hasText: "A room’s name has" }).waitFor();
  for (const name of ["a%20b", "%", "b@c"]) {
    await ann.page.evaluate((name) => (location.hash = name), name);
    await ann.page.getByRole("alert").filter({ hasText: `“${name}” cannot be a room` }).waitFor();
    assert.equal(new URL(ann.page.url()).hash, "#here");
  }
  await ann.page.evaluate(() => (location.hash = "#@staff"));
  await ann.page.getByRole("log").getByText("You may not read this room.").waitFor();
  assert.equal(await ann.page.getByRole("textbox", { name: /^Message/ }).count(), 0);
  await ann.page.evaluate(() => (location.hash = "#here"));
  await ann.say("still here");
  assert.deepEqual(said(await ann.sees(1)), ["Ann: still here"]);
  await ann.leave();
});

test("who scrolls up reads on, back to the beginning, and stays where the eyes are", async () => {
  const bob = await guest(host, "Bob");
  const count = 130;
  for (let number = 1; number <= count; number++) await bob.say("long", `{"text":"number ${number}"}`);
  const ann = await Person.at(browser, host, "long");
  await ann.enter("Ann");
  await ann.sees(50);
  const log = ann.page.getByRole("log");
  const [last, end] = await Promise.all(
    [log.getByText("number 130", { exact: true }), log].map((some) => some.evaluate((of) => of.getBoundingClientRect().bottom)),
  );
  assert.ok(last <= end, `${last} of ${end}`);

  const place = () => log.getByText("number 85", { exact: true }).evaluate((text) => text.getBoundingClientRect().top);
  await log.evaluate((log) => (log.scrollTop = 200));
  const before = await place();
  await ann.sees(100);
  const after = await place();
  assert.ok(Math.abs(after - before) < 2, `${before} px, then ${after} px`);

  await log.evaluate((log) => (log.scrollTop = 0));
  await ann.sees(count);
  await log.getByText("This is the beginning of “long”.").waitFor();
  const all = said(await ann.sees(count));
  assert.deepEqual(all, Array.from({ length: count }, (_, at) => `Bob: number ${at + 1}`));

  // What comes meanwhile is told, and moves nothing.
  const top = await log.evaluate((log) => log.scrollTop);
  await bob.say("long", `{"text":"one more"}`);
  const latest = ann.page.getByRole("button", { name: "1 new message. Go to the latest message" });
  await latest.waitFor();
  assert.equal(await log.evaluate((log) => log.scrollTop), top);
  await latest.click();
  await latest.waitFor({ state: "hidden" });
  assert.deepEqual(await below(ann, "New"), ["Bob: one more"]);
  await ann.leave();
});

test("a screen reader is told what is new, and not what is old or one's own", async () => {
  const bob = await guest(host, "Bob");
  await bob.say("heard", `{"text":"old"}`);
  const ann = await Person.at(browser, host, "heard");
  await ann.enter("Ann");
  await ann.sees(1);
  await ann.say("own");
  await ann.sees(2);
  await bob.say("heard", `{"text":"new"}`);
  await ann.sees(3);
  const news = ann.page.locator("[aria-live=polite]");
  assert.deepEqual(await news.locator("p").allTextContents(), ["Bob: new"]);
  await ann.leave();
});

test("one's own message is there at once, and grey until it is stored", async () => {
  const ann = await Person.at(browser, host, "at-once");
  await ann.enter("Ann");
  await host.kill();
  await ann.say("while away");
  const waiting = ann.page.getByRole("log").getByRole("article").filter({ hasText: "Sending…" });
  await waiting.getByText("while away").waitFor();
  await host.start();
  assert.deepEqual(said(await ann.sees(1)), ["Ann: while away"]);
  assert.equal(await waiting.count(), 0);
  await ann.leave();
});

test("what is refused says why, and can be tried again or discarded, also after a reload", async () => {
  const strict = await Host.start({ guest_channels: "lobby" });
  const ann = await Person.at(browser, strict, "news");
  await ann.enter("Ann");
  await ann.say("May I?");
  const failed = ann.page.getByRole("log").getByRole("article").filter({ hasText: "Not sent: you may not write in this room." });
  await failed.getByText("May I?").waitFor();
  await ann.page.reload();
  await ann.connected();
  await failed.getByText("May I?").waitFor();
  await failed.getByRole("button", { name: "Try again" }).click();
  await failed.getByText("May I?").waitFor();
  assert.equal(await failed.count(), 1);
  await failed.getByRole("button", { name: "Discard" }).click();
  await failed.waitFor({ state: "detached" });
  await ann.page.reload();
  await ann.connected();
  await ann.page.getByRole("log").getByText("Nothing has been said").waitFor();
  assert.equal(await failed.count(), 0);
  await ann.leave();
  await strict.stop();
});

test("a reload keeps the name, the rooms, what is being written and what is not sent", async () => {
  const ann = await Person.at(browser, host, "desk");
  ann.page.on("dialog", (dialog) => dialog.accept());
  await ann.enter("Ann");
  await ann.join("shelf");
  await ann.say("stored");
  await ann.sees(1);
  const field = ann.page.getByRole("textbox", { name: /^Message/ });
  await field.fill("not yet\nsaid");
  await ann.join("desk");
  await (await guest(host, "Bob")).say("shelf", `{"text":"are you there?"}`);
  const shelf = ann.page.getByRole("navigation").getByRole("link", { name: /^shelf/ });
  await shelf.filter({ hasText: "1 unread message" }).waitFor();
  await ann.allow("short-polling");
  const publishing = /\/witter\/(jsonp-)?publish\?/;
  await ann.page.route(publishing, (route) => route.abort());
  await ann.say("under way");
  await ann.page.getByRole("article").filter({ hasText: "under way" }).waitFor();
  await ann.page.reload();
  await ann.connected();
  await ann.page.getByRole("article").filter({ hasText: "under way" }).waitFor();
  assert.deepEqual(await ann.page.locator(`${part("rooms")} strong`).allTextContents(), ["desk", "shelf"]);
  await ann.page.unroute(publishing);
  assert.deepEqual(said(await ann.sees(1)), ["Ann: under way"]);
  await shelf.filter({ hasText: "1 unread message" }).click();
  assert.deepEqual(said(await ann.sees(2)), ["Ann: stored", "Bob: are you there?"]);
  assert.deepEqual(await below(ann, "New"), ["Bob: are you there?"]);
  assert.equal(await field.inputValue(), "not yet\nsaid");
  await ann.leave();
});

test("whichever ways are blocked, the talk goes on, and nothing is lost or doubled", async () => {
  const ann = await Person.at(browser, host, "blocked");
  await ann.enter("Ann");
  const bob = await guest(host, "Bob");
  const chip = ann.page.getByRole("button", { name: /^Connection: / });
  const expected = [];
  const ways = ["websocket", "sse", "xhr-streaming", "long-polling", "short-polling", "htmlfile", "jsonp-polling"];
  for (const [at, way] of ways.entries()) {
    if (at > 0) await ann.block(ways[at - 1]);
    // A way that once told nothing in time is tried again after a minute.
    await chip.filter({ hasText: way }).waitFor({ timeout: 90_000 });
    await ann.say(`mine by ${way}`);
    expected.push(`Ann: mine by ${way}`);
    await ann.sees(expected.length);
    await bob.say("blocked", JSON.stringify({ text: `another by ${way}` }));
    expected.push(`Bob: another by ${way}`);
    assert.deepEqual(said(await ann.sees(expected.length)), expected);
  }
  await chip.click();
  assert.ok(await ann.page.getByRole("checkbox", { name: /^jsonp-polling/ }).isDisabled(), "one has to remain");
  await ann.page.getByRole("checkbox", { name: /^websocket/ }).check();
  await ann.page.getByRole("checkbox", { name: /^websocket.*in use/ }).waitFor();
  await ann.page.keyboard.press("Escape");
  await chip.filter({ hasText: "websocket" }).waitFor();
  assert.deepEqual(said(await ann.sees(expected.length)), expected);
  await ann.leave();
});

test("where nobody upgrades the page says by what it makes do", async () => {
  const still = await Host.start({}, { options: ["--upgrades", "off"] });
  const ann = await Person.at(browser, still, "lobby");
  await ann.introduce("Ann");
  await ann.page.getByRole("status").filter({ hasText: "Connected by sse, as a fallback." }).waitFor();
  await ann.page.getByRole("button", { name: "Connection: fallback: sse" }).waitFor();
  await ann.say("all the same");
  assert.deepEqual(said(await ann.sees(1)), ["Ann: all the same"]);
  await ann.page.context().close();
  // The browser tells of the upgrade that was refused.
  assert.ok(ann.errors.every((error) => /Unexpected response code: 426/.test(error)), ann.errors.join("\n"));
  await still.stop();
});

test("what is missing is told", async () => {
  const ann = await Person.at(browser, host, "gaps");
  await ann.enter("Ann");
  await ann.say("before");
  await ann.sees(1);
  // From then on a poll follows each second: one of them is answered so.
  await ann.allow("short-polling");
  const gap = { channel: "gaps", after: 1, resumed: 4 };
  await ann.page.route("**/witter/short-polling?**", async (route) => {
    const response = await route.fetch();
    const batch = await response.json();
    if (new URL(route.request().url()).searchParams.has("before")) return route.fulfill({ response });
    await route.fulfill({ response, json: { ...batch, gaps: [gap] } });
    await ann.page.unroute("**/witter/short-polling?**");
  });
  await ann.page.getByRole("log").getByText("3 messages are gone and cannot be shown.").waitFor();
  await ann.leave();
});

test("addresses are links that tell nobody where one comes from", async () => {
  const ann = await Person.at(browser, host, "links");
  await ann.enter("Ann");
  await ann.say("see https://example.org/a?b=1, javascript:alert(1)");
  await ann.sees(1);
  const links = await ann.page.getByRole("log").getByRole("link").evaluateAll((all) =>
    all.map(({ href, textContent, target, rel }) => ({ href, textContent, target, rel })),
  );
  const address = "https://example.org/a?b=1";
  assert.deepEqual(links, [{ href: address, textContent: address, target: "_blank", rel: "noopener noreferrer nofollow" }]);
  await ann.leave();
});

test("two who go by one name are told apart", async () => {
  const one = await guest(host, "Ann");
  const other = await guest(host, "Ann");
  await one.say("names", `{"text":"I am Ann"}`);
  await other.say("names", `{"text":"So am I"}`);
  const bob = await Person.at(browser, host, "names");
  await bob.enter("Bob");
  await bob.sees(2);
  const heads = await bob.page.getByRole("log").getByRole("heading").allTextContents();
  assert.equal(new Set(heads).size, 2);
  for (const head of heads) assert.match(head, /^Ann \(.{4}\)$/);
  await bob.leave();
});

test("several lines are one message, and Enter in an input method is none", async () => {
  const ann = await Person.at(browser, host, "lines");
  await ann.enter("Ann");
  const field = ann.page.getByRole("textbox", { name: /^Message/ });
  await field.pressSequentially("one");
  await field.press("Shift+Enter");
  await field.pressSequentially("two");
  await field.dispatchEvent("keydown", { key: "Enter", isComposing: true, bubbles: true, cancelable: true });
  await field.dispatchEvent("keydown", { key: "Enter", keyCode: 229, bubbles: true, cancelable: true });
  assert.equal(await field.inputValue(), "one\ntwo");
  await field.press("Enter");
  assert.deepEqual(await ann.sees(1), [{ name: "Ann", text: "one\ntwo" }]);
  assert.equal(await field.inputValue(), "");
  await ann.leave();
});

test("a long message is shown in part, until all of it is wanted", async () => {
  const bob = await guest(host, "Bob");
  await bob.say("tall", JSON.stringify({ text: `first${"\n".repeat(5000)}last` }));
  await bob.say("tall", JSON.stringify({ text: "short" }));
  const ann = await Person.at(browser, host, "tall");
  await ann.enter("Ann");
  await ann.sees(2);
  const height = () => ann.messages.first().locator("p").evaluate((said) => said.offsetHeight);
  const folded = await height();
  assert.ok(folded < 400, `${folded} px`);
  await ann.page.getByRole("button", { name: "Show all" }).click();
  assert.ok((await height()) > 50_000);
  await ann.page.getByRole("button", { name: "Show less" }).click();
  assert.equal(await height(), folded);
  await ann.leave();
});

test("everything can be done by the keyboard", async () => {
  const ann = await Person.open(browser);
  const { keyboard } = ann.page;
  const focused = () => ann.page.evaluate(() => document.activeElement.id.slice(1) || document.activeElement.textContent);
  const tabTo = async (name) => {
    for (let steps = 0; (await focused()) !== name; steps++) {
      assert.ok(steps < 30, `${name} is not reached`);
      await keyboard.press("Tab");
    }
  };
  await ann.page.goto(`${host.url}/#keys`);
  await keyboard.type("Ann");
  await keyboard.press("Enter");
  await ann.connected();
  assert.equal(await focused(), "text");
  await keyboard.type("hello");
  await keyboard.press("Enter");
  await ann.sees(1);

  // An emoji: the third in the second row, put where one writes.
  await keyboard.press("Control+e");
  for (const key of ["ArrowDown", "ArrowRight", "ArrowRight"]) await keyboard.press(key);
  const chosen = await focused();
  await keyboard.press("Enter");
  assert.equal(await focused(), "text");
  await keyboard.press("Enter");
  assert.deepEqual(said(await ann.sees(2)), ["Ann: hello", `Ann: ${chosen}`]);
  await keyboard.press("Control+e");
  await keyboard.press("Escape");
  assert.equal(await focused(), "text");

  // Another room, and back; by the shortcut, by the list.
  await keyboard.press("Control+k");
  await keyboard.type("other");
  await keyboard.press("Enter");
  await ann.page.getByRole("heading", { name: "other", exact: true }).waitFor();
  assert.equal(await focused(), "text");
  await keyboard.press("Alt+ArrowUp");
  await ann.page.getByRole("heading", { name: "keys", exact: true }).waitFor();
  await ann.page.locator(`${part("rooms")} [aria-current]`).focus();
  await keyboard.press("ArrowDown");
  await keyboard.press("Enter");
  await ann.page.getByRole("heading", { name: "other", exact: true }).waitFor();
  const bob = await guest(host, "Bob");
  await bob.say("keys", `{"text":"Ann?"}`);
  await ann.page.waitForFunction(() => document.title.startsWith("(1)"));
  await keyboard.press("Alt+Shift+ArrowDown");
  assert.equal((await ann.sees(3)).at(-1).text, "Ann?");

  // What arrives does not take the focus away.
  const rooms = ann.page.locator(`${part("rooms")} a`);
  await rooms.last().focus();
  await bob.say("other", `{"text":"Hello?"}`);
  await rooms.last().filter({ hasText: "Hello?" }).waitFor();
  assert.ok(await rooms.last().evaluate((link) => link === document.activeElement));

  // Dialogs open, keep the focus, close by Escape, and give it back.
  for (const [opener, title] of [["chip", "Connection"], ["open-settings", "Settings"], ["open-keys", "Keyboard"]]) {
    await tabTo(opener);
    await keyboard.press("Enter");
    const dialog = ann.page.getByRole("dialog", { name: title });
    await dialog.waitFor();
    for (let steps = 0; steps < 12; steps++) {
      await keyboard.press("Tab");
      // Behind the last comes what is the browser's own, and then the first again.
      const within = await ann.page.evaluate(() => document.activeElement.matches("dialog *, body"));
      assert.ok(within, `${title} does not keep the focus`);
    }
    await keyboard.press("Escape");
    await dialog.waitFor({ state: "hidden" });
    assert.equal(await focused(), opener);
  }
  await keyboard.press("Control+/");
  await ann.page.getByRole("dialog", { name: "Keyboard" }).waitFor();
  await keyboard.press("Escape");
  await tabTo("leave");
  await keyboard.press("Enter");
  await ann.page.getByRole("heading", { name: "other", exact: true }).waitFor();
  await ann.leave();
});

test("on a phone the rooms are a drawer", async () => {
  const ann = await Person.at(browser, host, "pocket", { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  await ann.enter("Ann");
  const rooms = ann.page.getByRole("navigation", { name: "Rooms" });
  assert.equal(await rooms.isVisible(), false);
  await ann.page.getByRole("button", { name: "Show the rooms" }).click();
  await rooms.waitFor();
  for (let steps = 0; steps < 12; steps++) {
    await ann.page.keyboard.press("Tab");
    const behind = await ann.page.evaluate(() => document.activeElement.closest("main") !== null);
    assert.ok(!behind, "what is behind is out of reach");
  }
  await rooms.getByRole("link", { name: /^pocket/ }).focus();
  await ann.page.keyboard.press("Escape");
  await rooms.waitFor({ state: "hidden" });
  await ann.page.getByRole("button", { name: "Show the rooms" }).click();
  await ann.join("bag");
  await rooms.waitFor({ state: "hidden" });

  // There Enter begins a new line.
  const field = ann.page.getByRole("textbox", { name: /^Message/ });
  await field.pressSequentially("one");
  await field.press("Enter");
  await field.pressSequentially("two");
  await ann.page.getByRole("button", { name: "Send" }).click();
  assert.deepEqual(await ann.sees(1), [{ name: "Ann", text: "one\ntwo" }]);
  await ann.leave();
});

test("language and colours are those of the browser, or as chosen", async () => {
  const li = await Person.at(browser, host, "words", { locale: "zh-CN", colorScheme: "dark" });
  await li.page.getByLabel("名字", { exact: true }).fill("李");
  await li.page.getByRole("button", { name: "进入" }).click();
  await li.page.getByRole("status").filter({ hasText: "已连接" }).waitFor();
  const paper = () => li.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await paper();
  await li.page.getByRole("button", { name: "设置" }).click();
  await li.page.getByRole("radio", { name: "浅色" }).check();
  assert.notEqual(await paper(), dark);
  await li.page.getByRole("radio", { name: "English" }).check();
  await li.page.getByRole("dialog", { name: "Settings" }).getByText("You are 李").waitFor();
  await li.page.reload();
  await li.connected();
  assert.equal(await li.page.evaluate(() => document.documentElement.lang), "en");
  assert.notEqual(await paper(), dark);
  await li.leave();
});

test("who leaves is forgotten", async () => {
  const ann = await Person.at(browser, host, "leaving");
  await ann.enter("Ann");
  await ann.say("I was Ann");
  await ann.sees(1);
  const field = ann.page.getByRole("textbox", { name: /^Message/ });
  await field.fill("I will be Ann");
  await ann.page.getByRole("button", { name: "Settings" }).click();
  await ann.page.getByRole("button", { name: "Be somebody else" }).click();
  await ann.page.getByRole("heading", { name: "What shall we call you?" }).waitFor();
  assert.equal(await ann.page.evaluate(() => sessionStorage.length), 0);
  await ann.enter("Bob");
  assert.equal(await field.inputValue(), "");
  await ann.say("I am Bob");
  assert.deepEqual(said(await ann.sees(2)), ["Ann: I was Ann", "Bob: I am Bob"]);
  assert.equal(await ann.page.locator("article.own").count(), 1);
  await ann.leave();
});

test("where no guests are admitted the page says so", async () => {
  const closed = await Host.start({ guests: "false" });
  const ann = await Person.at(browser, closed, "lobby");
  await ann.introduce("Ann");
  await ann.page.getByRole("alert").filter({ hasText: "Guests are not admitted here." }).waitFor();
  assert.equal(await ann.page.getByLabel("Name", { exact: true }).inputValue(), "Ann");
  await ann.leave();
  await closed.stop();
});

test("who has no scripts is told so", async () => {
  const ann = await Person.at(browser, host, "lobby", { javaScriptEnabled: false });
  await ann.page.getByText("This page needs JavaScript").waitFor();
  await ann.leave();
  const bob = await Person.open(browser);
  await bob.page.route("**/witter/client.js", (route) => route.abort());
  await bob.page.goto(host.url);
  await bob.page.getByText("This page needs JavaScript").waitFor();
  await bob.leave();
});

test("no text becomes HTML or a script", async () => {
  const ann = await Person.at(browser, host, "policy");
  await ann.enter("Ann");
  const refused = await ann.page.evaluate(() => {
    const attempts = {
      html: () => (document.body.innerHTML = "<b>x</b>"),
      script: () => (document.createElement("script").src = "https://example.org/x.js"),
      own: () => (document.createElement("script").src = "/app.js"),
      text: () => (document.createElement("script").textContent = "broken = true"),
    };
    return Object.keys(attempts).filter((name) => {
      try {
        attempts[name]();
        return false;
      } catch {
        return true;
      }
    });
  });
  assert.deepEqual(refused, ["html", "script", "own", "text"]);
  // The browser tells of each.
  assert.ok(ann.errors.splice(0).every((error) => /Trusted|policy|Policy/.test(error)));
  await ann.leave();
});
