// The receiver in docs/webhook.md, as somebody copies it.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";

import { guest } from "./guest.js";
import { Host, ROOT } from "./host.js";
import { start } from "./programs.js";

/** A port that nobody listens on. */
async function free() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** The receiver, as a program that runs, and its lines. */
async function receive(t, secret) {
  const page = await readFile(path.join(ROOT, "docs/webhook.md"), "utf8");
  const [, program] = /```js\n(.*?)```/s.exec(page);
  const folder = await mkdtemp(path.join(tmpdir(), "witter-webhook-"));
  t.after(() => rm(folder, { recursive: true }));
  const file = path.join(folder, "receiver.mjs");
  await writeFile(file, program);
  const port = await free();
  const env = { ...process.env, WEBHOOK_SECRET: secret, PORT: port };
  const receiver = start(process.execPath, [file], { env, stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => receiver.kill());
  const origin = `http://127.0.0.1:${port}`;
  while (!(await fetch(origin, { method: "POST" }).catch(() => false))) {
    assert.equal(receiver.exitCode, null, "it has ended");
    await setTimeout(20);
  }
  return { origin, lines: createInterface(receiver.stdout)[Symbol.asyncIterator]() };
}

test("what is published is written by the receiver, in order, and what is not signed is refused", async (t) => {
  const secret = `whsec_${randomBytes(32).toString("base64")}`;
  const { origin, lines } = await receive(t, secret);
  const host = await Host.start({
    webhook_scheme: "http",
    webhook_host: new URL(origin).host,
    webhook_path: "/messages",
    webhook_secret: secret,
  });
  t.after(() => host.stop());
  const ann = await guest(host, "Ann");
  for (let number = 1; number <= 5; number += 1) {
    const body = { number, text: "</script>\u2028\u{1f642}" };
    await ann.say("lobby", JSON.stringify(body));
    const envelope = JSON.parse((await lines.next()).value);
    assert.deepEqual(
      [envelope.channel, envelope.offset, envelope.id, envelope.name, envelope.body],
      ["lobby", number, `${number}`, "Ann", body],
    );
  }
  const headers = { "webhook-id": "msg_1", "webhook-timestamp": `${Math.floor(Date.now() / 1000)}`, "webhook-signature": "v1,AAAA" };
  const forged = await fetch(origin, { method: "POST", headers, body: '{"data":{"envelopes":[1]}}' });
  assert.equal(forged.status, 401);
});
