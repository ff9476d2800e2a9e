// Somebody who publishes without a browser.

import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import https from "node:https";
import { json } from "node:stream/consumers";

/** A guest of that name, with a credential. */
export async function guest(host, name) {
  const post = async (path, body, token) => {
    const { request } = host.trusted ? https : http;
    const asked = request(`${host.url}/witter/${path}`, {
      method: "POST",
      headers: { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) },
      ca: host.trusted,
      agent: false,
    });
    asked.end(body);
    const [response] = await once(asked, "response");
    const answer = await json(response);
    assert.ok([200, 201].includes(response.statusCode), `${path}: ${response.statusCode} for ${body}`);
    return answer;
  };
  const { token } = await post("session", JSON.stringify({ name }));
  let count = 0;
  return {
    token,
    /** Publishes a body, given as JSON. */
    say: (channel, body) => post(`publish?channel=${channel}`, `{"id":"${++count}","body":${body}}`, token),
  };
}
