// Somebody whose page has the client library and nothing else.

import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";

import { chromium } from "playwright-core";

import { PATIENCE, Person } from "./person.js";
import { find } from "./programs.js";

/** All that the library knows, best first. */
export const TRANSPORTS = [
  "websocket",
  "sse",
  "xhr-streaming",
  "long-polling",
  "short-polling",
  "htmlfile",
  "jsonp-polling",
];

/** A whole browser, which keeps the pages that were left, for who comes back to them. */
export function launchKeeping() {
  return chromium.launch({
    executablePath: find("chromium"),
    chromiumSandbox: false,
    // Playwright turns it off: it follows no page into it and out of it. What is asked of the page here goes well.
    ignoreDefaultArgs: ["--disable-back-forward-cache"],
  });
}

/** A page without anything, as a server sends it. */
const PAGE = { contentType: "text/html", body: '<!doctype html><link rel="icon" href="data:," />' };

/** Runs in the page: one connection, and all that it told, each with its time since `connect`, in milliseconds. */
function keeper() {
  const told = { message: [], state: [], gap: [], denied: [], session: [], stored: [], failed: [] };
  let connection;
  let waiting = [];
  const look = () => {
    waiting = waiting.filter(({ done, resolve }) => {
      if (done()) resolve();
      return !done();
    });
  };

  /** What the page's surroundings do not have. */
  const without = [];
  /** They, and waits of a minute and more are shorter. */
  const surroundings = (hurry) =>
    new Proxy(window, {
      get(target, name) {
        if (without.includes(name)) return undefined;
        if (name === "setTimeout") return (run, ms) => setTimeout(run, ms < 60_000 ? ms : ms / hurry);
        const value = target[name];
        return typeof value === "function" && !value.prototype ? value.bind(target) : value;
      },
      set: (target, name, value) => Reflect.set(target, name, value, target),
    });

  window.talker = {
    without,
    get connection() {
      return connection;
    },

    /** Connects. `stored`: what lasts over a reload is kept. */
    async connect(server, { stored, environment, ...options }) {
      const { connect } = await import(`${server}/witter/client.js`);
      without.push(...(environment?.without ?? []));
      const begun = performance.now();
      connection = connect(`${server}/witter`, {
        ...options,
        ...(stored && { storage: sessionStorage }),
        ...(environment && { environment: surroundings(environment.hurry ?? 1) }),
      });
      for (const [event, all] of Object.entries(told)) {
        connection.on(event, (what) => {
          all.push({ what, at: performance.now() - begun });
          look();
        });
      }
    },

    /** What was told, as JSON, once there is so much of it, or what came of it where it takes too long. */
    async told(event, count, channel, patience) {
      const some = () => told[event].filter(({ what }) => !channel || what.channel === channel);
      await this.until(() => some().length >= count, patience);
      return JSON.stringify(some());
    },

    /** Waits. Whoever waits too long sees what there is instead. */
    until(done, patience = 90_000) {
      return new Promise((resolve) => {
        waiting.push({ done, resolve });
        setTimeout(resolve, patience);
        look();
      });
    },

    /** Says each of the bodies, given as JSON, all at once; what came of them, as JSON. */
    async say(channel, bodies) {
      const said = bodies.map((body) => connection.publish(channel, JSON.parse(body)));
      return JSON.stringify(
        (await Promise.allSettled(said)).map(({ value, reason }) => value ?? { code: reason.code }),
      );
    },
  };
}

export class Talker extends Person {
  /** The addresses that the page asked the server for, sockets' too. */
  requests = [];
  #asking = new EventEmitter();
  #server;
  #origin;

  /** Opens a page of `origin` that talks to `server`, in a window of its own. It is empty, unless `as` is another. */
  static async at(browser, server, origin = server, as = {}) {
    // A page that no server sent is none of this machine's; who may reach it has to be said.
    const talker = await this.open(browser, { permissions: ["local-network-access"] });
    await talker.page.addInitScript(keeper);
    await talker.visit(server, origin, as);
    return talker;
  }

  /** Opens another tab of the same browser, with the same page. */
  static async beside(talker) {
    const another = new this();
    another.page = await talker.page.context().newPage();
    another.page.on("pageerror", (error) => another.errors.push(String(error)));
    await another.page.addInitScript(keeper);
    await another.visit(talker.#server, talker.#origin, {});
    return another;
  }

  async visit(server, origin, as) {
    this.#server = server;
    this.#origin = origin;
    for (const kind of ["request", "websocket"]) {
      this.page.on(kind, (request) => {
        const { pathname } = new URL(request.url());
        if (pathname.startsWith("/witter/")) this.requests.push(request.url());
        this.#asking.emit("asked");
      });
    }
    await this.#intercepted(as, (address) => this.page.goto(address));
  }

  /** As the button in the browser does. */
  async reload() {
    await this.#intercepted({}, () => this.page.reload());
  }

  /** Goes to another page of the server. */
  async depart() {
    await this.page.goto(`${this.#server}/examples/`);
  }

  /** Comes back by the button, to the page as it was. */
  async comeBack() {
    await this.page.evaluate(() => history.back());
    await this.page.waitForURL(`${this.#origin}/empty`, { waitUntil: "commit" });
    assert.ok(await this.page.evaluate(() => "talker" in window && !!talker.connection));
  }

  /** No server has an empty page: the browser is handed one, and asks for all else itself. */
  async #intercepted(as, load) {
    const address = `${this.#origin}/empty`;
    await this.page.route(address, (route) => route.fulfill({ ...PAGE, ...as }));
    await load(address);
    await this.page.unroute(address);
  }

  /** Connects with options of the library, as a guest where they name nobody. */
  async connect(options) {
    await this.page.evaluate(([server, options]) => talker.connect(server, options), [
      this.#server,
      { guest: "Ann", ...options },
    ]);
  }

  /** What an event told, oldest first, once that is so much, which may take so many milliseconds. */
  async told(event, count, channel, patience) {
    const all = await this.page.evaluate((asked) => talker.told(...asked), [event, count, channel, patience]);
    const told = JSON.parse(all).map(({ what }) => what);
    assert.ok(told.length >= count, `${told.length} of ${count}: ${all}; ${JSON.stringify(await this.standing())}`);
    return told;
  }

  /** The messages of a channel so far, once there are so many: in their order, each once. */
  async hears(channel, count, patience) {
    const messages = await this.told("message", count, channel, patience);
    const first = messages[0]?.offset ?? 1;
    assert.deepEqual(
      messages.map(({ offset }) => offset),
      messages.map((_, at) => first + at),
    );
    return messages;
  }

  /** When the first message came, in milliseconds after `connect`. */
  async first() {
    return JSON.parse(await this.page.evaluate(() => talker.told("message", 1)))[0].at;
  }

  /** Says bodies, given as JSON, all at once, and tells what came of each. */
  async say(channel, ...bodies) {
    return JSON.parse(await this.page.evaluate(([channel, bodies]) => talker.say(channel, bodies), [channel, bodies]));
  }

  /** Waits until messages come by a transport, or by one of several. */
  async by(...transports) {
    // It may be another one again by the time that the page is asked.
    const came = await this.page.evaluate(async (transports) => {
      let came = false;
      await talker.until(() => (came ||= transports.includes(talker.connection.state.transport)));
      return came;
    }, transports);
    assert.ok(came, JSON.stringify(await this.standing()));
  }

  /** How often the page asked for a route. */
  asked(route) {
    return this.requests.filter((url) => new URL(url).pathname === `/witter/${route}`).length;
  }

  /** Waits until the page asks the server for an address that fits. */
  async asks(fits) {
    const signal = AbortSignal.timeout(PATIENCE);
    while (!this.requests.some(fits)) {
      const asked = await once(this.#asking, "asked", { signal }).catch(() => false);
      assert.ok(asked, `${this.requests} ${JSON.stringify(await this.standing())}`);
    }
  }

  /** How it stands, and how it stood before. */
  standing() {
    return this.page.evaluate(async () => ({
      state: talker.connection.state,
      unsent: talker.connection.unsent.length,
      states: JSON.parse(await talker.told("state", 0)).map(({ what, at }) => [what.kind, what.transport, at | 0]),
      failed: JSON.parse(await talker.told("failed", 0)).map(({ what }) => what.error),
      gaps: JSON.parse(await talker.told("gap", 0)).map(({ what }) => what),
    }));
  }
}
