// What is said on a WebSocket, whoever the client is.

import assert from "node:assert/strict";

import { guest } from "./guest.js";
import { HOSTILE, LONGEST } from "./hostile.js";

const BODIES = [...HOSTILE, ...LONGEST];

let count = 0;

/** What a client is told to say, in channels of its own. */
export async function talk(host) {
  const { token } = await guest(host, "Ann");
  const channel = `talk-${++count}`;
  return { url: host.sockets, token, channel, other: `${channel}.other`, bodies: BODIES };
}

/** Looks whether a client found what it should; `found` is the JSON that `converse` in socket.js gives. */
export function check({ channel, other }, found) {
  const { protocol, published, heard, subscribed, followed, unsubscribed, again, refused, last, rest, closed } =
    JSON.parse(found);
  assert.equal(protocol, "witter.v1");
  assert.deepEqual(
    published.map(({ published }) => published),
    BODIES.map((_, at) => ({ channel, offset: at + 1, id: `${at}` })),
  );
  assert.deepEqual(heard.map(({ id }) => id), BODIES.map((_, at) => `${at}`));
  for (const [at, { name, body }] of heard.entries()) {
    assert.equal(name, "Ann");
    assert.deepEqual(body, JSON.parse(BODIES[at]));
  }
  assert.equal(subscribed.subscribed, other);
  assert.deepEqual(followed.map(({ body }) => body), ["late"]);
  assert.equal(unsubscribed.unsubscribed, other);
  assert.deepEqual(again.published, published[0].published);
  assert.equal(refused.error, "id-reused");
  assert.deepEqual(last.map(({ body }) => body), ["last"]);
  assert.deepEqual(rest.filter(({ heartbeat }) => !heartbeat), []);
  assert.deepEqual(closed, { code: 1000, reason: "", wasClean: true });
}
