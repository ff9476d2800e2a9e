// @ts-check
import { environment } from "./browser/environment.js";

/** How long a timer of a page that nobody sees is put off, in milliseconds. */
const THROTTLED = 1000;

/** One tab's page, from one load to the next. */
export class Page {
  alive = true;
  asleep = false;
  /** Whether another page is shown in its tab. */
  left = false;
  online = true;
  /** How far its clock is from the right time, in milliseconds. */
  skew = 0;
  /** Nothing that it sent before arrives. */
  cutOff = false;
  /** @type {Set<import("./network.js").Exchange | import("./network.js").SocketWire>} */
  wires = new Set();
  /** @type {Set<object>} */
  timers = new Set();
  /** @type {(() => void)[]} What is done when it wakes. */
  #slept = [];
  /** @type {(() => void)[]} What is done when it is gone. */
  ends = [];
  /**
   * What becomes of a request.
   *
   * @type {(request: import("./network.js").Request) => import("./network.js").Fate}
   */
  fate = () => ({ kind: "served", up: 10, down: 10 });

  /**
   * @param {import("./world.js").World} world
   * @param {import("./browser/browser.js").Browser} browser
   * @param {string} name
   * @param {import("./browser/environment.js").Features} features
   * @param {Storage} sessionStorage
   */
  constructor(world, browser, name, features, sessionStorage) {
    this.world = world;
    this.browser = browser;
    this.name = name;
    this.features = features;
    this.sessionStorage = sessionStorage;
    this.environment = environment(this, features);
    world.pages.add(this);
  }

  /**
   * Runs something of the page's; what it throws is an error that nobody caught.
   *
   * @param {() => void} run
   */
  run(run) {
    if (!this.alive) return;
    if (this.asleep) return void this.#slept.push(run);
    try {
      run();
    } catch (error) {
      this.world.violate(`${this.name} threw ${/** @type {Error} */ (error).stack}`);
    }
  }

  /**
   * @param {() => void} run
   * @param {number} ms
   */
  setTimeout(run, ms) {
    const delay = this.environment.document?.hidden ? Math.max(ms, THROTTLED) : ms;
    const timer = this.world.clock.after(delay, () => {
      this.run(() => {
        // While the page slept it may have been ended.
        if (this.timers.delete(timer)) run();
      });
    });
    this.timers.add(timer);
    return timer;
  }

  /** @param {any} timer */
  clearTimeout(timer) {
    if (this.timers.delete(timer)) this.world.clock.cancel(timer);
  }

  /** Its connections die without a word, and so does time. */
  sleep() {
    this.asleep = true;
    this.wires.forEach((wire) => wire.silence());
  }

  /** @param {boolean} told Whether it hears that its connections are gone. */
  wake(told) {
    if (!this.asleep || this.left) return;
    this.asleep = false;
    if (told) this.wires.forEach((wire) => wire.break());
    const slept = this.#slept;
    this.#slept = [];
    slept.forEach((run) => this.run(run));
  }

  /** @param {boolean} told Whether it hears that there is no network. */
  goOffline(told) {
    this.online = false;
    this.cutOff = true;
    this.wires.forEach((wire) => (told ? wire.break() : wire.silence()));
    if (told) this.dispatch("offline");
  }

  /** @param {boolean} told */
  goOnline(told) {
    this.online = true;
    this.cutOff = false;
    if (told) this.dispatch("online");
  }

  /** @param {boolean} hidden */
  hide(hidden) {
    const { document } = this.environment;
    if (!document || document.hidden === hidden) return;
    document.hidden = hidden;
    this.run(() => document.dispatch("visibilitychange"));
  }

  /** It is left for another page, and kept. */
  leave() {
    if (this.asleep) return;
    this.dispatch("pagehide", { persisted: true });
    this.sleep();
    this.left = true;
  }

  /** The button "back". */
  comeBack() {
    if (!this.left) return;
    this.left = false;
    this.wake(true);
    this.dispatch("pageshow", { persisted: true });
  }

  /**
   * @param {string} type
   * @param {object} [event]
   */
  dispatch(type, event) {
    this.run(() => this.environment.window.dispatch(type, event));
  }

  /** The page is gone, with all that was of it. */
  end() {
    this.alive = false;
    this.wires.forEach((wire) => wire.abort());
    this.timers.forEach((timer) => this.clearTimeout(timer));
    this.ends.forEach((end) => end());
    this.world.pages.delete(this);
  }
}
