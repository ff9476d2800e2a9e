// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { lines } from "../build/lines.js";
import { byRequest } from "../build/request.js";
import { MODERN } from "./simulation/browser/environment.js";
import { Page } from "./simulation/page.js";
import { HOSTILE } from "./simulation/person.js";
import { inWorld } from "./simulation/world.js";

/** Frames whose bodies are all that a parser may choke on, one line each. */
const FRAMES = HOSTILE.map((text) => JSON.stringify({ envelope: { body: { text } }, cursor: "c" }));
const TEXT = `${FRAMES.join("\n")}\n`;

/** @param {string[]} pieces */
function read(pieces) {
  const cut = lines();
  return pieces.flatMap((piece) => cut(piece));
}

test("a text cut in two anywhere gives the same lines", () => {
  for (let cut = 0; cut <= TEXT.length; cut++) {
    assert.deepEqual(read([TEXT.slice(0, cut), TEXT.slice(cut)]), FRAMES, `cut at ${cut}`);
  }
});

test("a short text cut in three anywhere gives the same lines", () => {
  const text = '{"a":"\u2028"}\n\n{"b":"\ud83d\ude00"}\n';
  for (let first = 0; first <= text.length; first++) {
    for (let second = first; second <= text.length; second++) {
      const pieces = [text.slice(0, first), text.slice(first, second), text.slice(second)];
      assert.deepEqual(read(pieces), ['{"a":"\u2028"}', "", '{"b":"\ud83d\ude00"}'], `cut at ${first} and ${second}`);
    }
  }
});

test("a text that comes character by character gives the same lines", () => {
  assert.deepEqual(read(TEXT.split("")), FRAMES);
});

test("only a line feed ends a line", () => {
  assert.deepEqual(read(["a\rb\u2028c\u2029d\u0085e\u000bf\u000cg\n"]), ["a\rb\u2028c\u2029d\u0085e\u000bf\u000cg"]);
});

test("what is not whole is kept until its end comes", () => {
  const cut = lines();
  assert.deepEqual(cut("half"), []);
  assert.deepEqual(cut(" a line\nand"), ["half a line"]);
  assert.deepEqual(cut(" more\n"), ["and more"]);
});

/**
 * What a page makes of bytes that come in these pieces.
 *
 * @param {Buffer[]} pieces
 * @param {"fetch" | "xhr"} requests
 */
async function decoded(pieces, requests) {
  let text = "";
  await inWorld(1, async (world) => {
    const page = new Page(world, world.browser(), "page", { ...MODERN, requests }, /** @type {any} */ (undefined));
    world.server.handle = (_request, response) => {
      response.head(200, "application/x-ndjson");
      // The wire takes bytes as they are.
      for (const piece of pieces) response.write(/** @type {any} */ (piece));
      response.end();
    };
    let done = false;
    byRequest(page.environment, "https://chat.example/witter/xhr-streaming", () => (done = true), undefined, (chunk) => {
      text += chunk;
    });
    await world.run(1000, () => done);
  });
  return text;
}

for (const requests of /** @type {const} */ (["fetch", "xhr"])) {
  test(`bytes cut anywhere, also within a character, give the same text by ${requests}`, async () => {
    const text = "a\u00e9\u2028\u6f22\ud83d\ude00\ufeff{}\n";
    const bytes = Buffer.from(text);
    for (let cut = 0; cut <= bytes.length; cut++) {
      assert.equal(await decoded([bytes.subarray(0, cut), bytes.subarray(cut)], requests), text, `cut at ${cut}`);
    }
    const single = Array.from(bytes, (_, index) => bytes.subarray(index, index + 1));
    assert.equal(await decoded(single, requests), text);
  });
}
