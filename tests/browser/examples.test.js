// Each technique by name, on its page in examples/, in a browser.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Curl } from "./curl.js";
import { guest } from "./guest.js";
import { HOSTILE } from "./hostile.js";
import { Host } from "./host.js";
import { Person, launch } from "./person.js";
import { activeXObject, xDomainRequest } from "./stand-ins.js";
import { PAGES, Visitor, shown } from "./visitor.js";

let host, browser;
before(async () => {
  host = await Host.start();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await host?.stop();
});

const text = (text) => JSON.stringify({ text });

for (const way of PAGES) {
  const { page: name, crosses } = way;

  test(`${name}: people talk, in order, each message once`, async (t) => {
    const ann = await Visitor.on(way, browser, host.url, { channel: name });
    const curl = await Curl.follow(host, name);
    t.after(() => curl.stop());
    const bob = await guest(host, "Bob");
    await bob.say(name, text("before"));
    await ann.enter("Ann");
    await ann.sees(1);

    const expected = ["Bob: before"];
    for (let number = 1; number <= 3; number++) {
      await ann.say(`Hello ${number}`);
      await curl.messages(2 * number);
      await bob.say(name, text(`Hi ${number}`));
      expected.push(`Ann: Hello ${number}`, `Bob: Hi ${number}`);
    }
    assert.deepEqual(await ann.sees(expected.length), expected);
    const heard = await curl.messages(expected.length);
    assert.deepEqual(heard.map(({ name, body }) => shown(name, body)), expected);

    const page = new URL(ann.page.url());
    assert.ok(ann.requests.length >= 2);
    for (const request of ann.requests) {
      const { hostname, port } = new URL(request.url());
      assert.equal(hostname, crosses ? "localhost" : page.hostname);
      assert.equal(port, page.port);
    }
    await ann.leave();
  });

  test(`${name}: hostile bodies arrive as they are`, async (t) => {
    const channel = `${name}.hostile`;
    const mallory = await guest(host, "<b>Mallory</b>");
    const half = HOSTILE.length >> 1;
    // Some are there when the page opens, some come while it is open.
    for (const body of HOSTILE.slice(0, half)) await mallory.say(channel, body);
    const ann = await Visitor.on(way, browser, host.url, { channel });
    await ann.enter("Ann");
    for (const body of HOSTILE.slice(half)) await mallory.say(channel, body);

    const expected = HOSTILE.map((body) => shown("<b>Mallory</b>", JSON.parse(body)));
    assert.deepEqual(await ann.sees(expected.length), expected);
    await ann.isWhole();

    const curl = await Curl.follow(host, channel);
    t.after(() => curl.stop());
    const typed = `</script><img src=x onerror="broken = true"> '"\\ \u2028 😀 %&+#=`;
    await ann.say(typed);
    const [{ body }] = await curl.messages(1);
    assert.deepEqual(body, { text: typed });
    assert.equal((await ann.sees(expected.length + 1)).at(-1), `Ann: ${typed}`);
    await ann.isWhole();
    await ann.leave();
  });
}

test("every page goes on from its cursor after the host was killed", async (t) => {
  const host = await Host.start();
  t.after(() => host.stop());
  const home = host.address;
  const channel = "cut";
  const names = PAGES.map(({ page }) => page);
  const visitors = await Promise.all(PAGES.map((way) => Visitor.on(way, browser, host.url, { channel })));
  await Promise.all(visitors.map((visitor, at) => visitor.enter(names[at])));
  const bob = await guest(host, "Bob");
  await bob.say(channel, text("before"));
  await Promise.all(visitors.map((visitor) => visitor.sees(1)));

  await host.kill();
  await Promise.all(visitors.map((visitor) => visitor.say("from afar")));
  // What is said where the pages do not look for the host, they cannot hear while it is said.
  host.address = "127.0.0.1:0";
  await host.start();
  for (const number of [1, 2, 3]) await bob.say(channel, text(`while away ${number}`));
  await host.kill();
  host.address = home;
  await host.start();
  await bob.say(channel, text("after"));

  const count = 5 + names.length;
  const [first, ...others] = await Promise.all(visitors.map((visitor) => visitor.sees(count)));
  assert.deepEqual(first.slice(0, 4), ["before", "while away 1", "while away 2", "while away 3"].map((t) => `Bob: ${t}`));
  const rest = [...names.map((name) => `${name}: from afar`), "Bob: after"];
  assert.deepEqual(first.slice(4).sort(), rest.sort());
  for (const other of others) assert.deepEqual(other, first);

  // Nothing comes a second time: what is said last stands last.
  await bob.say(channel, text("last"));
  const last = [...first, "Bob: last"];
  for (const visitor of visitors) {
    assert.deepEqual(await visitor.sees(last.length), last);
    await visitor.leave();
  }
});

test("websocket: what nobody acknowledged is said again, and stands there once", async (t) => {
  const way = PAGES.find(({ page }) => page === "websocket");
  const ann = await Visitor.on(way, browser, host.url, { channel: "unacknowledged" });
  const curl = await Curl.follow(host, "unacknowledged");
  t.after(() => curl.stop());
  const published = [];
  await ann.page.routeWebSocket(/\/witter\/websocket\?/, (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((message) => {
      published.push(JSON.parse(message).publish);
      server.send(message);
    });
    server.onMessage((message) => {
      // It is stored; the page will not know.
      if (published.length === 1 && JSON.parse(message).published) socket.close({ code: 1011 });
      else socket.send(message);
    });
  });
  await ann.enter("Ann");
  await ann.say("once");
  await ann.page.getByRole("status").filter({ hasText: "Reconnecting" }).waitFor();
  await ann.say("twice");
  await ann.connected();
  assert.deepEqual(await ann.sees(2), ["Ann: once", "Ann: twice"]);
  assert.deepEqual((await curl.messages(2)).map(({ body }) => body.text), ["once", "twice"]);
  const [first, again, second] = published;
  assert.deepEqual(again, first);
  assert.equal(second.body.text, "twice");
  // What it says goes over the socket, and no other way.
  assert.deepEqual(ann.requests.filter((request) => request.url().includes("publish")), []);
  await ann.leave();
});

test("every page tells that it is refused", async (t) => {
  const host = await Host.start({ anonymous_read: "", guest_channels: "open" });
  t.after(() => host.stop());
  for (const way of PAGES) {
    const ann = await Visitor.on(way, browser, host.url, { channel: "closed" });
    await ann.introduce("Ann");
    await ann.page.getByRole("status").filter({ hasText: "Refused: " }).waitFor();
    await ann.page.context().close();
  }
});

test("the stand-ins allow no more than the objects did", async () => {
  const { page } = await Person.open(browser);
  await page.addInitScript(activeXObject);
  await page.addInitScript(xDomainRequest);
  await page.context().addCookies([{ name: "crumb", value: "1", url: "http://localhost" }]);
  await page.goto(`${host.url}/examples/xdomainrequest.html`);

  const asked = page.waitForRequest((request) => request.url().includes("/witter/publish"));
  const refusals = await page.evaluate(async (crossing) => {
    const names = (object) => {
      const all = [];
      for (let at = object; at !== Object.prototype; at = Object.getPrototypeOf(at)) all.push(...Object.getOwnPropertyNames(at));
      return all.filter((name) => name !== "constructor").sort();
    };
    const refused = (attempt) => {
      try {
        attempt();
        return false;
      } catch {
        return true;
      }
    };
    const answered = (method, path) =>
      new Promise((resolve) => {
        const request = new XDomainRequest();
        request.open(method, crossing + path);
        request.onload = () => resolve("load");
        request.onerror = () => resolve(`error ${request.responseText}`);
        request.send("{}");
      });
    return {
      members: names(new XDomainRequest()),
      htmlfile: names(new ActiveXObject("htmlfile")),
      put: refused(() => new XDomainRequest().open("PUT", crossing)),
      scheme: refused(() => new XDomainRequest().open("GET", crossing.replace("http:", "https:"))),
      cookies: refused(() => Object.assign(new XDomainRequest(), { withCredentials: true })),
      bytes: refused(() => {
        const request = new XDomainRequest();
        request.open("POST", crossing);
        request.send(new Uint8Array(1));
      }),
      object: refused(() => new ActiveXObject("Microsoft.XMLHTTP")),
      status: await answered("POST", "/witter/publish"),
      whole: await answered("GET", "/witter/short-polling?channel=x"),
      frames: window.length + document.querySelectorAll("iframe").length,
    };
  }, host.url.replace("127.0.0.1", "localhost"));
  assert.deepEqual(refusals, {
    members: [
      ..."abort contentType onerror onload onprogress ontimeout open responseText send timeout".split(" "),
    ],
    htmlfile: "appendChild body close createElement getElementById open parentWindow write".split(" "),
    put: true,
    scheme: true,
    cookies: true,
    bytes: true,
    object: true,
    status: "error ",
    whole: "load",
    frames: 0,
  });
  const headers = await (await asked).allHeaders();
  for (const name of ["content-type", "cookie", "authorization"]) assert.equal(headers[name], undefined, name);
  await page.context().close();
});

test("where its object is missing, a page says so", async () => {
  for (const { page: name } of PAGES.filter(({ standIn }) => standIn)) {
    const ann = await Visitor.on({ page: name }, browser, host.url);
    await ann.page.getByRole("status").filter({ hasText: "This browser has no " }).waitFor();
    assert.ok(await ann.page.getByRole("button", { name: "Enter" }).isDisabled());
    await ann.leave();
  }
});

test("the index leads to every page", async () => {
  const person = await Person.open(browser);
  const { page } = person;
  await page.goto(`${host.url}/examples`);
  const links = await page.locator(".techniques a").evaluateAll((all) => all.map((one) => one.getAttribute("href")));
  assert.deepEqual(links.sort(), PAGES.map(({ page }) => `${page}.html`).sort());
  for (const link of links) {
    await page.locator(`.techniques a[href="${link}"]`).click();
    await page.getByLabel("Name", { exact: true }).waitFor();
    await page.getByRole("link", { name: "All examples" }).click();
    await page.locator(".techniques").first().waitFor();
  }
  await person.leave();
});
