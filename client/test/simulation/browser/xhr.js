// @ts-check
import { Exchange } from "../network.js";
import { Listeners } from "./events.js";
import { requestOf } from "./request.js";

/** @param {import("../page.js").Page} page */
export const xhrFor = (page) =>
  /** What browsers had before `fetch`: the text so far, whenever some more of it is here. */
  class XMLHttpRequest extends Listeners {
    readyState = 0;
    status = 0;
    responseText = "";
    #method = "GET";
    #url = "";
    /** @type {Exchange | undefined} */
    #exchange;
    #decoder = new TextDecoder();

    /**
     * @param {string} method
     * @param {string} url
     */
    open(method, url) {
      this.#method = method;
      this.#url = url;
      this.#become(1);
    }

    setRequestHeader() {
      page.world.violate("a request has headers, and needs a preflight");
    }

    /** @param {string} [body] */
    send(body) {
      if (this.readyState !== 1 || this.#exchange) throw new DOMException("not open", "InvalidStateError");
      this.#exchange = new Exchange(page, requestOf(this.#url, this.#method, body), {
        head: (status) => {
          this.status = status;
          this.#become(2);
        },
        chunk: (bytes) => {
          this.responseText += this.#decoder.decode(bytes, { stream: true });
          this.#become(3);
        },
        end: () => {
          this.responseText += this.#decoder.decode();
          this.#become(4);
          this.dispatch("load");
          this.dispatch("loadend");
        },
        fail: () => {
          this.#forget();
          this.#become(4);
          this.dispatch("error");
          this.dispatch("loadend");
        },
      });
    }

    /** Tells of it at once (XMLHttpRequest standard, section 4.5.7). */
    abort() {
      const sent = this.#exchange && this.readyState < 4;
      this.#exchange?.abort();
      this.#exchange = undefined;
      this.#forget();
      if (sent) {
        this.#become(4);
        this.dispatch("abort");
        this.dispatch("loadend");
      }
      if (this.readyState === 4) this.readyState = 0;
    }

    #forget() {
      this.status = 0;
      this.responseText = "";
    }

    /** @param {number} state */
    #become(state) {
      this.readyState = state;
      this.dispatch("readystatechange");
      if (state === 3) this.dispatch("progress");
    }
  };
