// Pages talk over WebSockets in Chromium: plain, over TLS, and on a connection of HTTP/2.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Certificate } from "./certificate.js";
import { check, talk } from "./conversation.js";
import { guest } from "./guest.js";
import { Host } from "./host.js";
import { Person, launch } from "./person.js";
import { serve } from "./serve.js";
import { converse, socketOf } from "./socket.js";

/**
 * The ways to a server. An upgrade of HTTP/1.1 is answered with 101, and nothing else will do; on HTTP/2 a
 * WebSocket is a tunnel, which 200 opens (RFC 8441, section 5).
 */
const WAYS = [
  { name: "ws", status: 101, spoken: "http/1.1" },
  { name: "wss over HTTP/1.1", secure: true, only: "--disable-http2", status: 101, spoken: "http/1.1" },
  { name: "wss over HTTP/2", secure: true, status: 200, spoken: "h2" },
];

let certificate, browser, old;
before(async () => {
  certificate = await Certificate.make();
  // Names enough for origins; all of them are this machine.
  browser = await launch("--host-resolver-rules=MAP *.test 127.0.0.1");
  old = await launch("--disable-http2");
});
after(async () => {
  await old?.close();
  await browser?.close();
  await certificate?.remove();
});

const start = ({ secure }, variables) => Host.start(variables, secure ? { certificate } : {});

/** A page of an origin, with the class Socket in it. */
async function visit({ only }, origin) {
  const person = await Person.open(only ? old : browser, { ignoreHTTPSErrors: true });
  await person.page.addInitScript(`window.Socket = (${socketOf})(WebSocket); window.converse = ${converse};`);
  await person.page.goto(origin);
  return person;
}

/** What the server answered to the page's WebSockets. */
async function handshakes(page) {
  const session = await page.context().newCDPSession(page);
  const statuses = [];
  session.on("Network.webSocketHandshakeResponseReceived", ({ response }) => statuses.push(response.status));
  await session.send("Network.enable");
  return statuses;
}

for (const way of WAYS) {
  test(`${way.name}: a page talks`, async (t) => {
    const host = await start(way);
    t.after(() => host.stop());
    const person = await visit(way, host.url);
    const statuses = await handshakes(person.page);
    const spoken = await person.page.evaluate(() => performance.getEntriesByType("navigation")[0].nextHopProtocol);
    assert.equal(spoken, way.spoken);

    const what = await talk(host);
    const found = await person.page.evaluate((what) => converse(Socket, what), what);
    check(what, found);
    assert.match(JSON.parse(found).extensions, /^permessage-deflate;/);
    assert.deepEqual(statuses, [way.status]);

    // Several at once, on one connection where that is of HTTP/2.
    const all = await Promise.all(Array.from({ length: 5 }, () => talk(host)));
    const each = await person.page.evaluate((all) => Promise.all(all.map((what) => converse(Socket, what))), all);
    for (const [at, what] of all.entries()) check(what, each[at]);
    assert.deepEqual(statuses, Array(6).fill(way.status));
    await person.leave();
  });

  test(`${way.name}: a page goes on from its cursor after the host was killed`, async (t) => {
    const host = await start(way);
    t.after(() => host.stop());
    const home = host.address;
    const bob = await guest(host, "Bob");
    const { page } = await visit(way, host.url);
    const open = (after) =>
      page.evaluate(async (query) => {
        const address = `${location.origin.replace("http", "ws")}/witter/websocket?${query}`;
        window.socket = await Socket.open(address);
      }, `${new URLSearchParams({ channel: "cut", ...(after && { after }) })}`);
    const hear = (count) =>
      page.evaluate(async (count) => {
        const heard = [];
        while (heard.length < count) heard.push(await socket.next(({ envelope }) => envelope));
        return { bodies: heard.map(({ envelope }) => envelope.body), cursor: heard.at(-1).cursor };
      }, count);
    await open();
    await bob.say("cut", `"before"`);
    const { bodies, cursor } = await hear(1);
    assert.deepEqual(bodies, ["before"]);

    await host.kill();
    const { code, wasClean } = await page.evaluate(() => socket.closed());
    assert.deepEqual({ code, wasClean }, { code: 1006, wasClean: false });
    // What is said where the page does not look for the host, it cannot hear while it is said.
    host.address = "127.0.0.1:0";
    await host.start();
    for (const number of [1, 2, 3]) await bob.say("cut", `"away ${number}"`);
    await host.kill();
    host.address = home;
    await host.start();
    await open(cursor);
    await bob.say("cut", `"after"`);
    assert.deepEqual((await hear(4)).bodies, ["away 1", "away 2", "away 3", "after"]);
    await page.context().close();
  });

  test(`${way.name}: a page is told why its connection ends`, async (t) => {
    const host = await start(way, { guest_channels: "open", anonymous_read: "open" });
    t.after(() => host.stop());
    const { page } = await visit(way, host.url);
    const closing = (query, data) =>
      page.evaluate(
        async ({ query, data }) => {
          const address = `${location.origin.replace("http", "ws")}/witter/websocket?${query}`;
          const socket = new Socket(address);
          if (data) {
            await socket.next((frame) => frame.open);
            socket.send(data.binary ? new Uint8Array(2) : " ".repeat(data.spaces));
          }
          const closed = await socket.closed();
          return { ...closed, end: socket.rest().at(-1)?.end };
        },
        { query, data },
      );
    const hidden = { code: 1006, reason: "", wasClean: false, end: undefined };
    const told = (code, end) => ({ code, reason: end, wasClean: true, end });
    for (const [query, error] of [
      ["channel=closed", "unauthorized"],
      ["channel=open&token=wrong", "unauthorized"],
      ["channel=open&after=wrong", "invalid-request"],
      ["channel=", "invalid-request"],
    ]) {
      assert.deepEqual(await closing(query), hidden, query);
      assert.deepEqual(await closing(`${query}&errors=inline`), told(1008, error), query);
    }
    const { token } = await guest(host, "Ann");
    const forbidden = new URLSearchParams({ channel: "closed", token, errors: "inline" });
    assert.deepEqual(await closing(`${forbidden}`), told(1008, "forbidden"));

    for (const [data, code] of [
      [{ binary: true }, 1003],
      [{ spaces: 1024 * 1024 + 1 }, 1009],
    ]) {
      const closed = await closing("channel=open", data);
      assert.deepEqual({ code: closed.code, wasClean: closed.wasClean }, { code, wasClean: true });
    }
    await page.context().close();
  });
}

test("the pages of other origins are not let in, unless they are named", async (t) => {
  const server = await serve("<!doctype html>");
  t.after(() => server.close());
  const { port } = server.address();
  const named = `http://named.test:${port}`;
  const foreign = `http://foreign.test:${port}`;
  const neighbour = `http://127.0.0.1:${port}`;
  for (const [websocket_origins, welcome, refused] of [
    ["", [], [named, foreign, neighbour]],
    [named, [named], [foreign, neighbour]],
    ["*", [named, foreign, neighbour], []],
  ]) {
    const host = await Host.start({ websocket_origins });
    t.after(() => host.stop());
    const open = (page) =>
      page.evaluate(
        (address) => Socket.open(address).then(() => "open", (error) => error.message),
        `${host.sockets}/witter/websocket?channel=x`,
      );
    // Whoever is named, the server's own pages are let in.
    for (const origin of [host.url, ...welcome]) {
      const person = await visit({}, origin);
      assert.equal(await open(person.page), "open", `${origin}, where ${websocket_origins} is named`);
      await person.leave();
    }
    for (const origin of refused) {
      const { page } = await visit({}, origin);
      // The status is told to who looks at the browser's console, and not to the page.
      const refusal = page.waitForEvent("console", (message) => /Unexpected response code: 403/.test(message.text()));
      const [outcome] = await Promise.all([open(page), refusal]);
      assert.match(outcome, /^closed: {"code":1006,/, `${origin}, where ${websocket_origins} is named`);
      await page.context().close();
    }
  }
});
