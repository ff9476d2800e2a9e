// @ts-check
import { SocketWire } from "../network.js";
import { Listeners } from "./events.js";
import { requestOf } from "./request.js";

/** @param {import("../page.js").Page} page */
export const webSocketFor = (page) =>
  class WebSocket extends Listeners {
    static CONNECTING = 0;
    static OPEN = 1;
    static CLOSING = 2;
    static CLOSED = 3;
    readyState = 0;
    bufferedAmount = 0;
    protocol = "";
    #wire;

    /**
     * @param {string} url
     * @param {string} protocol
     */
    constructor(url, protocol) {
      super();
      // Old browsers resolve no relative address, and take no other scheme.
      if (!/^wss?:\/\//.test(url)) throw new DOMException("not a WebSocket's address", "SyntaxError");
      if (protocol !== "witter.v1") page.world.violate("a WebSocket without its subprotocol");
      this.#wire = new SocketWire(page, requestOf(url), {
        open: () => {
          if (this.readyState !== 0) return;
          this.readyState = 1;
          this.protocol = protocol;
          this.dispatch("open");
        },
        message: (data) => {
          if (this.readyState === 1) this.dispatch("message", { data });
        },
        close: (code, reason) => {
          const failed = this.readyState === 0 || code === 1006;
          this.readyState = 3;
          if (failed) this.dispatch("error");
          this.dispatch("close", { code, reason, wasClean: code !== 1006 });
        },
      });
    }

    /** @param {string} text */
    send(text) {
      if (this.readyState === 0) throw new DOMException("still connecting", "InvalidStateError");
      if (this.readyState === 1) this.#wire.send(text);
    }

    close() {
      if (this.readyState >= 2) return;
      this.readyState = 2;
      this.#wire.abort();
    }
  };
