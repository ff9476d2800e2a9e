// @ts-check
import { Exchange } from "../network.js";
import { requestOf } from "./request.js";

/**
 * `fetch`, with a body that arrives in pieces.
 *
 * @param {import("../page.js").Page} page
 */
export const fetchFor = (page) =>
  /**
   * @param {string} url
   * @param {any} init
   */
  function fetch(url, { method = "GET", body, signal, credentials, headers } = {}) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      if (credentials !== "omit") page.world.violate("a request may carry a cookie");
      if (headers) page.world.violate("a request has headers, and needs a preflight");
      /** @type {(Buffer | undefined)[]} What has come and is not read; undefined: the end. */
      const come = [];
      /** @type {{ resolve(read: object): void, reject(error: unknown): void } | undefined} */
      let reading;
      /** @type {unknown} */
      let failed;
      const hand = () => {
        if (!reading) return;
        const { resolve, reject } = reading;
        if (come.length) {
          const value = come[0];
          // The end stays: who reads on is told again.
          if (value) come.shift();
          reading = undefined;
          resolve(value ? { done: false, value } : { done: true, value: undefined });
        } else if (failed) {
          reading = undefined;
          reject(failed);
        }
      };
      const fail = (/** @type {unknown} */ error) => {
        failed = error;
        come.length = 0;
        reject(error);
        hand();
      };
      const read = () =>
        new Promise((resolve, reject) => {
          reading = { resolve, reject };
          hand();
        });
      const whole = async () => {
        const pieces = [];
        for (;;) {
          const { done, value } = await read();
          if (done) return Buffer.concat(pieces);
          pieces.push(value);
        }
      };
      const off = () => signal?.removeEventListener("abort", abort);
      const exchange = new Exchange(page, requestOf(url, method, body), {
        head: (status, type) =>
          resolve({
            status,
            ok: status >= 200 && status < 300,
            headers: new Map([["content-type", type]]),
            body: { getReader: () => ({ read, cancel: abort }) },
            // As the standard decodes: a byte order mark goes, and what is not UTF-8 is replaced.
            text: async () => new TextDecoder().decode(await whole()),
            json: async () => JSON.parse(new TextDecoder().decode(await whole())),
          }),
        chunk(bytes) {
          come.push(bytes);
          hand();
        },
        end() {
          off();
          come.push(undefined);
          hand();
        },
        fail() {
          off();
          fail(new TypeError("Failed to fetch"));
        },
      });
      const abort = () => {
        exchange.abort();
        fail(signal?.reason);
      };
      signal?.addEventListener("abort", abort);
    });
  };
