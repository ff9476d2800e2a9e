// Somebody at a window of Chromium, who does what people do: looks, types and clicks.

import assert from "node:assert/strict";

import { chromium } from "playwright-core";

import { find } from "./programs.js";

/** In milliseconds: longer than the longest pause after a failure that a test brings about. */
export const PATIENCE = 30_000;

/**
 * Chromium as the system has it, with further arguments; nothing is downloaded. The program without windows, where there is
 * one: its pages and its network are the same, and it takes half the processor time.
 */
export function launch(...further) {
  return start(find("chromium-headless-shell", "chromium"), further);
}

/** The whole browser, as people have it. */
export function launchWhole(...further) {
  return start(find("chromium"), further);
}

function start(executablePath, further) {
  return chromium.launch({
    executablePath,
    // Tests run as root in containers, where Chromium's own sandbox cannot be set up.
    chromiumSandbox: false,
    args: [
      "--disable-gpu",
      // Where there is little memory, pages of one site would share a process, and crash together.
      "--renderer-process-limit=1000",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...further,
    ],
  });
}

/** How Chromium tells that a server is away. */
const AWAY = /^Failed to load resource|^WebSocket connection to \S+ failed: Error (in connection establishment|during WebSocket handshake: net::)/;

/** The selector of a part of the chat page, in whatever language that speaks. */
export const part = (id) => `#\\:${id}`;

export class Person {
  page;
  /** Errors of scripts, and what the browser refused to load or run. */
  errors = [];

  /** An empty window, that shares nothing with others. */
  static async open(browser, options = {}) {
    const context = await browser.newContext(options);
    context.setDefaultTimeout(PATIENCE);
    const person = new this();
    person.page = await context.newPage();
    person.page.on("pageerror", (error) => person.errors.push(String(error)));
    person.page.on("console", (message) => {
      // It is told here too, and is no fault of the page.
      const away = AWAY.test(message.text());
      if (message.type() === "error" && !away) person.errors.push(message.text());
    });
    return person;
  }

  /** Opens a room. */
  static async at(browser, host, room, options) {
    const person = await this.open(browser, options);
    await person.page.goto(`${host.url}/#${room}`);
    return person;
  }

  /** Tells a name, and waits for the connection. */
  async enter(name) {
    await this.introduce(name);
    await this.connected();
  }

  /** Tells a name. */
  async introduce(name) {
    await this.page.getByLabel("Name", { exact: true }).fill(name);
    await this.page.getByRole("button", { name: "Enter" }).click();
  }

  /** Messages arrive: by whichever transport. */
  async connected() {
    await this.page.getByRole("status").filter({ hasText: /^Connected/ }).waitFor();
  }

  /** Goes into a room. */
  async join(room) {
    await this.page.getByLabel("Room", { exact: true }).fill(room);
    await this.page.getByLabel("Room", { exact: true }).press("Enter");
    await this.page.getByRole("heading", { name: room, exact: true }).waitFor();
  }

  /** Blocks a way of reaching the server. */
  async block(way) {
    await this.#choose(async (dialog) => dialog.getByRole("checkbox", { name: new RegExp(`^${way}`) }).uncheck());
  }

  /** Blocks all ways but one. */
  async allow(way) {
    await this.#choose(async (dialog) => {
      for (const box of await dialog.getByRole("checkbox").all()) {
        if (!(await box.evaluate((box, way) => box.labels[0].querySelector("b").textContent === way, way))) await box.uncheck();
      }
    });
    await this.page.getByRole("button", { name: `Connection: ${way}` }).waitFor();
  }

  /** Does something in the dialog "Connection". */
  async #choose(act) {
    await this.page.getByRole("button", { name: /^Connection: / }).click();
    await act(this.page.getByRole("dialog", { name: "Connection" }));
    await this.page.keyboard.press("Escape");
  }

  async say(text) {
    const field = this.page.getByRole("textbox", { name: /^Message/ });
    await field.fill(text);
    await field.press("Enter");
  }

  /** The messages of the room that are stored. */
  get messages() {
    return this.page.locator("[role=log] article:not(.waiting, .stored, .failed)");
  }

  /** What stands in the room, once there are so many stored messages: who said what. */
  async sees(count) {
    await this.messages.nth(count - 1).waitFor();
    return this.messages.evaluateAll((all) =>
      all.map((one) => ({
        name: one.querySelector("bdi").textContent,
        text: one.querySelector("p").textContent,
      })),
    );
  }

  /** Leaves, and says that nothing went wrong meanwhile. */
  async leave() {
    await this.page.context().close();
    assert.deepEqual(this.errors, []);
  }
}
