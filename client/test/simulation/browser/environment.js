// @ts-check
import { Document } from "./document.js";
import { eventSourceFor } from "./eventsource.js";
import { Listeners } from "./events.js";
import { fetchFor } from "./fetch.js";
import { ORIGIN } from "./request.js";
import { webSocketFor } from "./websocket.js";
import { xhrFor } from "./xhr.js";

/**
 * What a browser has.
 *
 * @typedef {object} Features
 * @property {"fetch" | "xhr" | "none"} requests
 * @property {boolean} webSocket
 * @property {"stubborn" | "yielding" | "none"} eventSource Whether it tries again where it was refused.
 * @property {boolean} document
 * @property {boolean | "denied"} tabs Whether tabs can speak to each other. Denied: whoever tries is told so, and nothing is
 *   kept, as by Firefox where a page may store nothing.
 * @property {boolean} crypto
 */

/** @type {Features} */
export const MODERN = {
  requests: "fetch",
  webSocket: true,
  eventSource: "stubborn",
  document: true,
  tabs: true,
  crypto: true,
};

/**
 * A window, as far as anybody may use it.
 *
 * @param {import("../page.js").Page} page
 * @param {Features} features
 * @returns {any}
 */
export function environment(page, features) {
  const { browser, world } = page;
  const random = world.random.fork();
  const window = /** @type {any} */ (new Listeners());
  window.window = window;
  window.setTimeout = page.setTimeout.bind(page);
  window.clearTimeout = page.clearTimeout.bind(page);
  window.Date = { now: () => world.clock.now + page.skew };
  window.Math = { random: () => random.next() };
  window.localStorage = browser.localStorage;
  window.navigator = {
    get onLine() {
      return page.online;
    },
  };
  if (features.requests === "fetch") Object.assign(window, { fetch: fetchFor(page), AbortController, TextDecoder });
  if (features.requests === "xhr") window.XMLHttpRequest = xhrFor(page);
  if (features.webSocket) window.WebSocket = webSocketFor(page);
  if (features.eventSource !== "none") window.EventSource = eventSourceFor(page);
  // A worker has one, too.
  window.location = { href: `${ORIGIN}/rooms/lobby.html?q#top` };
  if (features.document) window.document = new Document(page);
  if (features.tabs === "denied") {
    const denied = () => new DOMException("The operation is insecure.", "SecurityError");
    window.BroadcastChannel = class {
      constructor() {
        throw denied();
      }
    };
    window.navigator.locks = { request: () => Promise.reject(denied()) };
    Object.defineProperty(window, "localStorage", {
      get() {
        throw denied();
      },
    });
  } else if (features.tabs) {
    window.BroadcastChannel = browser.channels.constructorFor(page);
    window.navigator.locks = browser.locks.managerFor(page);
  }
  if (features.crypto) {
    window.crypto = {
      getRandomValues: (/** @type {Uint8Array} */ bytes) => bytes.map((_, index) => (bytes[index] = random.between(0, 255))),
    };
  }
  return window;
}
