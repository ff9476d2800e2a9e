// @ts-check

/** Where the page is, and the routes are. */
export const ORIGIN = "https://chat.example";

/**
 * @param {string} address
 * @param {string} method
 * @param {string} [body]
 * @param {string} [lastEventId]
 * @returns {import("../network.js").Request}
 */
export function requestOf(address, method = "GET", body, lastEventId) {
  const url = new URL(address, `${ORIGIN}/rooms/lobby.html`);
  if (!/^(https|wss):\/\/chat\.example$/.test(`${url.protocol}//${url.host}`)) throw new Error(`nobody is at ${url}`);
  const route = url.pathname.replace(/^\/witter\//, "");
  // Scripts that send go the way of scripts that receive.
  const transport = /^jsonp-/.test(route) ? "jsonp-polling" : route;
  return { method, route, transport, query: url.searchParams, body, lastEventId };
}
