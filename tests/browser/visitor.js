// Somebody on one of the pages in examples/.

import assert from "node:assert/strict";

import { Person } from "./person.js";
import { activeXObject, xDomainRequest } from "./stand-ins.js";

/** The pages. Those of another origin take the host under its other name. */
export const PAGES = [
  { page: "short-polling" },
  { page: "long-polling" },
  { page: "xhr-streaming" },
  { page: "forever-iframe" },
  { page: "htmlfile-activex", standIn: activeXObject },
  { page: "sse" },
  { page: "websocket" },
  { page: "jsonp", crosses: true },
  { page: "forever-iframe-postmessage", crosses: true },
  { page: "xdomainrequest", crosses: true, standIn: xDomainRequest },
  { page: "cors", crosses: true },
];

/** How a page shows a message. */
export function shown(name, body) {
  return `${name}: ${typeof body?.text === "string" ? body.text : JSON.stringify(body)}`;
}

export class Visitor extends Person {
  /** What the page asked of the server: requests, and sockets. */
  requests = [];

  /** Opens a page of `origin` in a window of its own. */
  static async on({ page, standIn }, browser, origin, parameters) {
    const visitor = await Visitor.open(browser);
    if (standIn) await visitor.page.addInitScript(standIn);
    for (const kind of ["request", "websocket"]) {
      visitor.page.on(kind, (request) => {
        if (new URL(request.url()).pathname.startsWith("/witter/")) visitor.requests.push(request);
      });
    }
    await visitor.page.goto(`${origin}/examples/${page}.html?${new URLSearchParams(parameters)}`);
    return visitor;
  }

  async say(text) {
    await this.page.getByLabel("Message", { exact: true }).fill(text);
    await this.page.getByRole("button", { name: "Send" }).click();
  }

  /** The lines on the page, once there are so many. */
  async sees(count) {
    const lines = this.page.locator("#log li");
    await lines.nth(count - 1).waitFor();
    // As JSON: on the way a lone surrogate would be replaced.
    return JSON.parse(await lines.evaluateAll((all) => JSON.stringify(all.map((one) => one.textContent))));
  }

  /** No message has become a part of the page. */
  async isWhole() {
    const broken = await this.page.evaluate(() => ({
      ran: "broken" in window,
      elements: document.querySelectorAll("#log li *").length,
    }));
    assert.deepEqual(broken, { ran: false, elements: 0 });
  }
}
