// People talk on the page that the built host serves.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Curl } from "./curl.js";
import { Host } from "./host.js";
import { Person, launch } from "./person.js";

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
