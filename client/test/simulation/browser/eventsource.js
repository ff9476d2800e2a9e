// @ts-check
import { Exchange } from "../network.js";
import { Listeners } from "./events.js";
import { requestOf } from "./request.js";

/** How long a browser waits before it reopens unless the stream says otherwise, in milliseconds. */
const RETRY = 3000;

/** @param {import("../page.js").Page} page */
export const eventSourceFor = (page) =>
  /** The parsing and reopening of the HTML standard, section 9.2. */
  class EventSource extends Listeners {
    readyState = 0;
    #url;
    #retry = RETRY;
    #lastEventId = "";
    /** @type {Exchange | undefined} */
    #exchange;
    /** @type {object | undefined} */
    #timer;

    /** @param {string} url */
    constructor(url) {
      super();
      this.#url = url;
      this.#open();
    }

    close() {
      this.readyState = 2;
      this.#exchange?.abort();
      page.clearTimeout(this.#timer);
    }

    #open() {
      const request = requestOf(this.#url, "GET", undefined, this.#lastEventId || undefined);
      const decoder = new TextDecoder();
      const parser = new Parser(this.#lastEventId);
      this.#exchange = new Exchange(page, request, {
        head: (status, type) => {
          if (status !== 200 || !type.startsWith("text/event-stream")) return this.#give();
          this.readyState = 1;
          this.dispatch("open");
        },
        chunk: (bytes) => {
          for (const event of parser.feed(decoder.decode(bytes, { stream: true }))) {
            if (this.readyState === 2) return;
            this.#lastEventId = event.lastEventId;
            this.dispatch(event.type, { data: event.data, lastEventId: event.lastEventId, origin: "" });
          }
          this.#retry = parser.retry ?? this.#retry;
        },
        end: () => this.#reopen(),
        // Some reopen after a connection that was refused, some give up.
        fail: () => (this.readyState === 1 || page.features.eventSource === "stubborn" ? this.#reopen() : this.#give()),
      });
    }

    #reopen() {
      if (this.readyState === 2) return;
      this.readyState = 0;
      this.dispatch("error");
      if (this.readyState === 0) this.#timer = page.setTimeout(() => this.#open(), this.#retry);
    }

    #give() {
      if (this.readyState === 2) return;
      this.close();
      this.dispatch("error");
    }
  };

/** Takes an event stream's text as it comes. */
export class Parser {
  #rest = "";
  #type = "";
  #data = "";
  #id;
  /** @type {number | undefined} */
  retry;

  /** @param {string} id */
  constructor(id) {
    this.#id = id;
  }

  /** @param {string} text */
  feed(text) {
    const events = [];
    // The server writes no carriage return; whoever does is not ours.
    const lines = (this.#rest + text).split("\n");
    this.#rest = /** @type {string} */ (lines.pop());
    for (const line of lines) {
      if (line === "") {
        const event = { type: this.#type || "message", data: this.#data.slice(0, -1), lastEventId: this.#id };
        if (this.#data) events.push(event);
        this.#type = this.#data = "";
      } else this.#field(line);
    }
    return events;
  }

  /** @param {string} line */
  #field(line) {
    const [, name, value = ""] = /** @type {string[]} */ (/^([^:]*)(?:: ?(.*))?$/s.exec(line));
    if (name === "event") this.#type = value;
    if (name === "data") this.#data += `${value}\n`;
    if (name === "id" && !value.includes("\0")) this.#id = value;
    if (name === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
  }
}
