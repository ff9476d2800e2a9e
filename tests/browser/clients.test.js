// Programs that are no browsers talk over WebSockets: npm's ws, Python's websockets, curl.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import WebSocket from "ws";

import { Certificate } from "./certificate.js";
import { check, talk } from "./conversation.js";
import { DIRECT, Host } from "./host.js";
import { start } from "./programs.js";
import * as python from "./python.js";
import { converse, socketOf } from "./socket.js";

let certificate, plain, secure, still;
before(async () => {
  certificate = await Certificate.make();
  plain = await Host.start();
  secure = await Host.start({}, { certificate });
  still = await Host.start({}, { options: ["--upgrades", "off"] });
});
after(async () => {
  for (const host of [still, secure, plain]) await host?.stop();
  await certificate?.remove();
});

/** As a page would see it: `extensions` are what was agreed, parameters included. */
class Upgraded extends WebSocket {
  #agreed = "";

  constructor(url, protocols, options) {
    super(url, protocols, options);
    this.on("upgrade", ({ headers }) => (this.#agreed = headers["sec-websocket-extensions"] ?? ""));
  }

  get extensions() {
    return this.#agreed;
  }
}

const Socket = socketOf(Upgraded);

const DEFLATE = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
/** What `ws` is told to offer, and what is agreed. */
const OFFERS = [
  { offer: false, agreed: "" },
  { offer: true, agreed: DEFLATE },
  { offer: { serverNoContextTakeover: true }, agreed: DEFLATE },
  { offer: { clientNoContextTakeover: true }, agreed: DEFLATE },
  { offer: { serverNoContextTakeover: true, clientNoContextTakeover: true }, agreed: DEFLATE },
  // A window of 256 bytes zlib cannot keep to: the offer is declined.
  { offer: { serverMaxWindowBits: 8 }, agreed: "" },
  ...[9, 10, 11, 12, 13, 14, 15].flatMap((bits) => [
    { offer: { serverMaxWindowBits: bits }, agreed: `${DEFLATE}; server_max_window_bits=${bits}` },
    { offer: { clientMaxWindowBits: bits }, agreed: `${DEFLATE}; client_max_window_bits=${bits}` },
  ]),
  {
    offer: { serverMaxWindowBits: 9, clientMaxWindowBits: 9, serverNoContextTakeover: true },
    agreed: `${DEFLATE}; server_max_window_bits=9; client_max_window_bits=9`,
  },
];

test("ws talks", async (t) => {
  for (const { offer, agreed } of OFFERS) {
    await t.test(`permessage-deflate ${JSON.stringify(offer)}`, async () => {
      // Without a threshold: small messages are compressed too.
      const perMessageDeflate = offer instanceof Object ? { threshold: 0, ...offer } : offer;
      const what = await talk(plain);
      const found = await converse(Socket, { ...what, options: { perMessageDeflate } });
      check(what, found);
      assert.equal(JSON.parse(found).extensions, agreed);
    });
  }
  await t.test("over TLS", async () => {
    const what = await talk(secure);
    check(what, await converse(Socket, { ...what, options: { ca: secure.trusted } }));
  });
});

test("ws is sent what compresses well in few bytes, and sends it so", async () => {
  const { url, token, channel } = await talk(plain);
  const address = `${url}/witter/websocket?${new URLSearchParams({ channel, token })}`;
  const body = JSON.stringify("so it goes ".repeat(5000));
  for (const [perMessageDeflate, fits] of [
    [true, (bytes) => bytes < 2000],
    [false, (bytes) => bytes > 50_000],
  ]) {
    let connection;
    class Watched extends WebSocket {
      constructor(...given) {
        super(...given);
        this.on("upgrade", ({ socket }) => (connection = socket));
      }
    }
    const socket = await socketOf(Watched).open(address, { perMessageDeflate });
    const answer = await socket.ask(`"publish":{"channel":"${channel}","id":"${perMessageDeflate}","body":${body}}`);
    assert.ok(answer.published);
    const [envelope] = await socket.envelopes(channel, 1);
    assert.equal(JSON.stringify(envelope.body), body);
    for (const bytes of [connection.bytesRead, connection.bytesWritten]) assert.ok(fits(bytes), `${bytes} bytes`);
    await socket.close();
  }
});

/** What ends a connection, and with which code. */
const ENDS = [
  { what: "a binary message", data: Buffer.from("{}"), code: 1003 },
  { what: "a message of more than 1 MiB", data: " ".repeat(1024 * 1024 + 1), code: 1009 },
  { what: "a message of more than 1 MiB in few bytes", data: " ".repeat(4 * 1024 * 1024), code: 1009, deflate: true },
];

test("ws is told why its connection ends", async (t) => {
  for (const { what, data, code, deflate = false } of ENDS) {
    await t.test(what, async () => {
      const { url, channel } = await talk(plain);
      const options = { perMessageDeflate: deflate };
      const socket = await Socket.open(`${url}/witter/websocket?channel=${channel}`, options);
      socket.send(data);
      const closed = await socket.closed();
      assert.equal(closed.code, code);
      // nginx, which has more to pass on, may break off behind the last frame.
      assert.ok(closed.wasClean || !DIRECT);
    });
  }
});

/** How a client may leave without a word: what it asked, when it leaves, and its last deed. */
const VANISHING = [
  { what: "after it was let in", when: "open" },
  { what: "while it is told an error", query: { after: "wrong", errors: "inline" }, when: "open" },
  { what: "when it was told something", when: "message" },
  { what: "in the middle of a message", when: "open", last: (socket) => socket.send("{", { fin: false }) },
  { what: "while it says goodbye", when: "message", last: (socket) => socket.close(1000) },
];

test("ws that vanishes takes nobody with it", async (t) => {
  const { url, token, channel } = await talk(plain);
  // All in one channel: they meet in one instance.
  const address = (query) => `${url}/witter/websocket?${new URLSearchParams({ channel, token, ...query })}`;
  const bystander = await Socket.open(address());
  for (const [id, { what, query, when, last }] of VANISHING.entries()) {
    await t.test(what, async () => {
      const socket = new WebSocket(address(query), "witter.v1");
      await once(socket, when);
      last?.(socket);
      socket.terminate();
      await once(socket, "close");
      // What its end brings about has been brought about when somebody else has come and gone.
      await (await Socket.open(address())).close();
      assert.ok((await bystander.ask(`"publish":{"channel":"${channel}","id":"${id}","body":1}`)).published);
    });
  }
  await bystander.close();
});

test("ws is told on what host there are no upgrades", async () => {
  const socket = new WebSocket(`${still.sockets}/witter/websocket?channel=x`, "witter.v1");
  const status = await new Promise((resolve, reject) => {
    socket.on("unexpected-response", (request, { statusCode }) => {
      request.destroy();
      resolve(statusCode);
    });
    socket.on("open", () => reject(new Error("it was upgraded")));
    socket.on("error", reject);
  });
  assert.equal(status, 426);
});

/** The example of RFC 6455, section 1.3. */
const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const UPGRADE = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": KEY };

/** What curl is answered to what is no handshake, or a wrong one. */
const REFUSALS = [
  { what: "a plain GET", headers: {}, status: 426, error: "upgrade-required" },
  { what: "a POST", headers: {}, method: "POST", status: 405, error: "method-not-allowed" },
  { what: "an upgrade by POST", method: "POST", status: 405, error: "method-not-allowed" },
  { what: "another upgrade", headers: { ...UPGRADE, upgrade: "h2c" }, status: 426, error: "upgrade-required" },
  { what: "an old version", headers: { ...UPGRADE, "sec-websocket-version": "8" }, status: 426, error: "upgrade-required" },
  { what: "no version", without: "sec-websocket-version", status: 400, error: "invalid-request" },
  { what: "no key", without: "sec-websocket-key", status: 400, error: "invalid-request" },
  { what: "a short key", headers: { ...UPGRADE, "sec-websocket-key": "c2hvcnQ=" }, status: 400, error: "invalid-request" },
  { what: "no channel", query: "", status: 400, error: "invalid-request" },
  { what: "a wrong channel", query: "channel=%2F", status: 400, error: "invalid-request" },
  { what: "a wrong cursor", query: "channel=x&after=x", status: 400, error: "invalid-request" },
  { what: "a wrong token", query: "channel=x&token=x", status: 401, error: "unauthorized" },
  { what: "a foreign page", headers: { ...UPGRADE, origin: "http://foreign.example" }, status: 403, error: "forbidden" },
  { what: "a page of no origin", headers: { ...UPGRADE, origin: "null" }, status: 403, error: "forbidden" },
];

/** What the status asks for. */
const ASKED = {
  401: { "www-authenticate": "Bearer" },
  405: { allow: "GET, OPTIONS" },
  426: { upgrade: "websocket", ...(DIRECT && { connection: "upgrade" }), "sec-websocket-version": "13" },
};

/** An answer as curl prints it. */
function parse(answer) {
  const end = answer.indexOf("\r\n\r\n");
  const [first, ...lines] = answer.subarray(0, end).toString().split("\r\n");
  const headers = lines.map((line) => line.split(/: (.*)/s)).map(([name, value]) => [name.toLowerCase(), value]);
  return { status: Number(first.split(" ")[1]), headers: Object.fromEntries(headers), body: answer.subarray(end + 4) };
}

/** What curl is told: to ask for an upgrade of the channel x, unless otherwise. */
function handshake(host, { method = "GET", headers = UPGRADE, without, query = "channel=x" }) {
  const sent = Object.entries(headers).filter(([name]) => name !== without);
  const fields = sent.flatMap(([name, value]) => ["--header", `${name}: ${value}`]);
  const options = ["--silent", "--show-error", "--include", "--no-buffer", "--http1.1", "--noproxy", "*"];
  return [...options, "--request", method, ...fields, `${host.url}/witter/websocket?${query}`];
}

const run = promisify(execFile);

test("curl is told what is wrong", async (t) => {
  for (const { what, status, error, ...asked } of REFUSALS) {
    await t.test(what, async () => {
      const { stdout } = await run("curl", handshake(plain, asked), { encoding: "buffer" });
      const answer = parse(stdout);
      assert.equal(answer.status, status);
      assert.match(answer.headers["content-type"], /^application\/json/);
      assert.equal(answer.headers["cache-control"], "no-store, no-transform");
      for (const [name, value] of Object.entries(ASKED[status] ?? {})) {
        assert.equal(answer.headers[name]?.toLowerCase(), value.toLowerCase(), name);
      }
      const told = JSON.parse(answer.body);
      assert.equal(told.error, error);
      assert.equal(typeof told.detail, "string");
      if (status === 426) assert.equal(told.next, "sse");
    });
  }
});

test("curl is told which way to go where there are no upgrades", async () => {
  const { stdout } = await run("curl", handshake(still, {}), { encoding: "buffer" });
  const { status, headers, body } = parse(stdout);
  assert.equal(status, 426);
  assert.equal(headers["sec-websocket-version"], "13");
  const { error, next } = JSON.parse(body);
  assert.deepEqual({ error, next }, { error: "upgrade-required", next: "sse" });
});

test("curl is let in, and reads frames", async () => {
  const headers = { ...UPGRADE, "sec-websocket-protocol": "other, witter.v1", origin: plain.url };
  const curl = start("curl", handshake(plain, { headers }), { stdio: ["ignore", "pipe", "inherit"] });
  const chunks = [];
  for await (const chunk of curl.stdout) {
    chunks.push(chunk);
    if (Buffer.concat(chunks).includes(`"}`)) curl.kill();
  }
  const { status, headers: answered, body } = parse(Buffer.concat(chunks));
  assert.equal(status, 101);
  assert.equal(answered["sec-websocket-accept"], ACCEPT);
  assert.equal(answered["sec-websocket-protocol"], "witter.v1");
  assert.equal(answered["sec-websocket-extensions"], undefined);
  // The first frame: the end of a text message, unmasked, shorter than 126 bytes (RFC 6455, section 5.2).
  const [first, length] = body;
  assert.deepEqual([first, length], [0x81, body.length - 2]);
  assert.equal(JSON.parse(body.subarray(2)).open, true);
});

test("Python's websockets talks", async (t) => {
  let program;
  try {
    program = await python.environment("websockets==15.0.1");
  } catch (error) {
    return t.skip(`it cannot be installed: ${error.message.split("\n")[0]}`);
  }
  const windows = { server_max_window_bits: 10, client_max_window_bits: 11 };
  const alone = { server_no_context_takeover: true, client_no_context_takeover: true };
  const narrow = `${DEFLATE}; server_max_window_bits=10; client_max_window_bits=11`;
  for (const [host, offer, agreed] of [
    [plain, null, ""],
    [plain, {}, DEFLATE],
    [plain, windows, narrow],
    [plain, { ...windows, ...alone }, narrow],
    [secure, {}, DEFLATE],
  ]) {
    await t.test(`${host === secure ? "over TLS, " : ""}permessage-deflate ${JSON.stringify(offer)}`, async () => {
      const what = await talk(host);
      const trusted = host === secure ? certificate.file : null;
      const found = await python.run(program, "websocket_client.py", { ...what, offer, trusted });
      check(what, found);
      assert.equal(JSON.parse(found).extensions, agreed);
    });
  }
});
