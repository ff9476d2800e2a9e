// The client library in Node, as a program imports it.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";

import WebSocket from "ws";

import { chatter } from "./chatter.js";
import { guest } from "./guest.js";
import { Host, ROOT } from "./host.js";
import { HOSTILE, LONGEST } from "./hostile.js";

const LIBRARY = pathToFileURL(path.join(ROOT, "client/dist/witter.js")).href;
const { connect } = await import(LIBRARY);

let host;
before(async () => {
  host = await Host.start();
});
after(() => host?.stop());

/** What Node 20 has, and later ones are told to have no more than. */
const NODE = { setTimeout, clearTimeout, Date, Math, fetch, AbortController, TextDecoder, crypto };

const WAYS = [
  { transports: ["xhr-streaming"] },
  { transports: ["long-polling"] },
  { transports: ["short-polling"] },
  // What is not there is done without.
  { by: "xhr-streaming" },
  { by: "websocket", environment: { WebSocket } },
];

/** So many messages, by iteration. */
async function take(messages, count) {
  const taken = [];
  while (taken.length < count) taken.push((await messages.next()).value);
  return taken;
}

/** Waits until messages come by a transport. */
async function by(connection, transport) {
  await new Promise((resolve) => {
    const look = () => connection.state.transport === transport && resolve(off());
    const off = connection.on("state", look);
    look();
  });
}

for (const [at, { transports, by: best = transports[0], environment }] of WAYS.entries()) {
  const name = `${best}${transports ? " alone" : ""}`;
  const options = { transports, environment: { ...NODE, ...environment }, guest: "Ann" };

  test(`by ${name} two programs talk`, async () => {
    const channel = `node-${at}`;
    const writer = await guest(host, "Writer");
    for (const body of ["0", "1", "2"]) await writer.say(channel, body);
    const ann = connect(`${host.url}/witter`, { ...options, channels: [channel], history: 2 });
    const bob = connect(`${host.url}/witter/`, { ...options, channels: [channel], history: 2, guest: "Bob" });
    const heard = [ann, bob].map((connection) => connection[Symbol.asyncIterator]());
    for (const messages of heard) assert.deepEqual((await take(messages, 2)).map(({ body }) => body), [1, 2]);
    for (const connection of [ann, bob]) await by(connection, best);
    const said = [...HOSTILE, ...LONGEST].map((body) => JSON.parse(body));
    const receipts = await Promise.all(said.map((body) => ann.publish(channel, body)));
    await bob.publish(channel, "last");
    for (const messages of heard) {
      const all = await take(messages, said.length + 1);
      assert.deepEqual(all.map(({ body }) => body), [...said, "last"]);
      assert.deepEqual(all.slice(0, -1).map(({ offset }) => offset), receipts.map(({ offset }) => offset));
    }
    await assert.rejects(ann.subscribe("@staff"), { code: "forbidden" });
    assert.deepEqual((await ann.history(channel, { before: 3 })).messages.map(({ body }) => body), [0, 1]);
    for (const connection of [ann, bob]) {
      connection.close();
      assert.deepEqual(connection.state, { kind: "closed", reason: "" });
    }
    assert.deepEqual(await heard[0].next(), { done: true, value: undefined });
  });

  test(`by ${name} a program goes on after the host was killed`, async (t) => {
    const host = await Host.start();
    t.after(() => host.stop());
    const channel = "killed";
    const ann = connect(`${host.url}/witter`, { ...options, channels: [channel] });
    t.after(() => ann.close());
    const messages = ann[Symbol.asyncIterator]();
    await by(ann, best);
    await ann.publish(channel, "before");
    await host.kill();
    const said = ann.publish(channel, "away");
    await host.start();
    assert.equal((await said).offset, 2);
    const stop = chatter(await guest(host, "Bob"), channel);
    const heard = await take(messages, 12);
    await stop();
    assert.deepEqual(heard.map(({ offset }) => offset), heard.map((_, at) => at + 1));
    assert.deepEqual(heard.slice(0, 3).map(({ body }) => body), ["before", "away", "Bob 1"]);
  });
}

test("a program that is done ends by itself", async () => {
  const program = `
    import { connect } from ${JSON.stringify(LIBRARY)};
    const chat = connect(${JSON.stringify(`${host.url}/witter`)}, { channels: ["done"], history: 1, guest: "Ann" });
    chat.publish("done", "hello");
    for await (const { body } of chat) {
      console.log(body);
      chat.close();
    }`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", program]);
  assert.equal(stdout, "hello\n");
});
