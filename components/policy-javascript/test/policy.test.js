// The component as it is built, run in Node.js: what it imports is played here.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";

import { transpile } from "@bytecodealliance/jco";

const ann = { sender: "ann", name: "Ann", administers: false, grants: "notes" };
const context = { now: 1_700_000_000_000n, sharedSecret: new Uint8Array(32) };
const lobby = { channel: "lobby" };

let folder;
let policy;
/** What the policy below answers to `review`. */
let below;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "policy-"));
  const built = join(folder, "policy-javascript.wasm");
  const build = fileURLToPath(new URL("../scripts/build.js", import.meta.url));
  await promisify(execFile)(process.execPath, [build, built]);
  const { files } = await transpile(await readFile(built), { name: "policy", instantiation: { tag: "async" } });
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), content);
  }
  await writeFile(join(folder, "package.json"), '{"type":"module"}');
  const { instantiate } = await import(pathToFileURL(join(folder, "policy.js")));
  const core = async (name) => WebAssembly.compile(await readFile(join(folder, name)));
  const inner = {
    authenticate: (credential) => ({ ...ann, name: credential ?? "nobody" }),
    permit: (_identity, action, places) =>
      places.map(({ channel }) =>
        channel === action ? { tag: "ok" } : { tag: "err", val: { tag: "forbidden", val: channel } },
      ),
    review: (...told) => below(...told),
    admit: (name) => ({ token: "token", sender: "guest~1", name, expiresAt: context.now }),
  };
  const instance = await instantiate(core, {
    "witter:messaging/policy": inner,
    "wasi:config/store": { get: () => undefined, getAll: () => [] },
  });
  policy = instance.policy;
});

after(() => rm(folder, { recursive: true, force: true }));

/** What is stored of a body; undefined: itself. */
function review(body, place = lobby, answer = () => undefined) {
  below = answer;
  return policy.review(ann, place, body, context);
}

const refusal = (tag, val) => (error) => {
  assert.deepEqual(error.payload, { tag, val });
  return true;
};

describe("what a message says", () => {
  for (const body of [
    '{"text":"hello"}',
    '{"text":"OK, NASA"}',
    '{"text":"THIS IS Not SHOUTED"}',
    '{"text":"你好你好你好你好你好你好你好"}',
    '{"text":"a @ b, @ann, ann@ and ann@host"}',
    '{"text":12}',
    '{"no":"ANN@EXAMPLE.ORG IS NO TEXT"}',
    '"ann@example.org"',
    "null",
    "1e999",
    "[]",
    JSON.stringify({ text: "a".repeat(60_000) }),
    JSON.stringify({ text: "a@".repeat(30_000) }),
    JSON.stringify({ text: "a@" + "a".repeat(60_000) }),
    '{"text":"","deep":' + "[".repeat(30_000) + "]".repeat(30_000) + "}",
  ]) {
    it(`is stored as it is: ${body.slice(0, 40)}`, () => assert.equal(review(body), undefined));
  }

  for (const [body, stored] of [
    ['{"text":"to ann@example.org!"}', '{"text":"to (address hidden)!"}'],
    ['{"text":"\\u0061nn\\u0040example.org, zoë@exämple.org"}', '{"text":"(address hidden), (address hidden)"}'],
    // All else stays: the order, the digits, a member that would set a prototype, a surrogate alone.
    [
      '{"n":12345678901234567890.10e5,"text":"a@b.c","__proto__":{"a":-0},"s":"\\ud83d"}',
      '{"n":12345678901234567890.10e5,"text":"(address hidden)","__proto__":{"a":-0},"s":"\\ud83d"}',
    ],
  ]) {
    it(`is changed: ${body.slice(0, 40)}`, () => {
      assert.equal(review(body), stored);
      assert.equal(review(stored), undefined, "once is enough");
    });
  }

  it("is refused where it is shouted", () => {
    for (const text of ["THIS IS SHOUTED", "ÄCHTE SCHREIHÄLSE!", "THIS IS ann@example.org".toUpperCase()]) {
      assert.throws(() => review(JSON.stringify({ text })), refusal("forbidden", "please do not shout"));
    }
    // Not by those who keep order.
    for (const role of ["moderator", "owner"]) {
      assert.equal(review('{"text":"THIS IS SHOUTED"}', { ...lobby, role }), undefined);
    }
    assert.throws(() => review('{"text":"THIS IS SHOUTED"}', { ...lobby, role: "member" }));
  });

  it("is refused where it cannot be changed", () => {
    const body = '{"text":"a@b.c","deep":' + "[".repeat(30_000) + "]".repeat(30_000) + "}";
    assert.throws(() => review(body), refusal("forbidden", "what has an address in it may not be nested so deeply"));
    assert.equal(review('{"text":"fine"}'), undefined, "it goes on");
  });
});

describe("the policy below", () => {
  it("decides who somebody is and what they may", () => {
    assert.deepEqual(policy.authenticate("Zoe", context).name, "Zoe");
    assert.deepEqual(policy.authenticate(undefined, context).name, "nobody");
    assert.deepEqual(policy.permit(ann, "read", [{ channel: "read" }, { channel: "else", role: "owner" }]), [
      { tag: "ok", val: undefined },
      { tag: "err", val: { tag: "forbidden", val: "else" } },
    ]);
    assert.equal(policy.admit("Ann", new Uint8Array(16), context).sender, "guest~1");
  });

  it("reviews first", () => {
    const told = [];
    const answer = (...all) => void told.push(all);
    review('{"text":"a"}', { channel: "lobby", role: "owner" }, answer);
    assert.equal(told.length, 1);
    assert.equal(told[0][2], '{"text":"a"}');
    assert.equal(told[0][1].role, "owner");

    assert.equal(review('{"text":"a"}', lobby, () => '{"text":"b"}'), '{"text":"b"}');
    assert.equal(review('{"text":"a"}', lobby, () => '{"text":"a@b.c"}'), '{"text":"(address hidden)"}');
    const refuses = () => {
      throw { tag: "rate-limited", val: 7 };
    };
    assert.throws(() => review('{"text":"a"}', lobby, refuses), refusal("rate-limited", 7));
  });
});
