// Somebody who publishes without a browser.

import assert from "node:assert/strict";

/** A guest of that name, with a credential. */
export async function guest(host, name) {
  const post = async (path, body, token) => {
    const response = await fetch(`${host.url}/witter/${path}`, {
      method: "POST",
      headers: { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) },
      body,
    });
    assert.ok(response.ok, `${path}: ${response.status} for ${body}`);
    return response.json();
  };
  const { token } = await post("session", JSON.stringify({ name }));
  let count = 0;
  return {
    /** Publishes a body, given as JSON. */
    say: (channel, body) => post(`publish?channel=${channel}`, `{"id":"${++count}","body":${body}}`, token),
  };
}
