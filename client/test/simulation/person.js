// @ts-check
import { MemoryStorage } from "./browser/browser.js";
import { MODERN } from "./browser/environment.js";
import { Page } from "./page.js";

/**
 * What somebody wanted to send.
 *
 * @typedef {object} Sending
 * @property {string} author In whose order it is.
 * @property {number} number
 * @property {string} channel
 * @property {unknown} body
 * @property {string} id
 * @property {number} at
 * @property {number} page On which load of the page.
 * @property {{ at: number, offset?: number, code?: string } | undefined} settled
 */

/**
 * What somebody heard of a channel while they followed it.
 *
 * @typedef {object} Following
 * @property {string} channel
 * @property {number} history
 * @property {{ epoch: number, head: number } | undefined} since Where the channel was when they were told that they follow.
 * @property {({ message: any } | { gap: any })[]} told
 * @property {boolean} asked Whether they asked for it later: then a promise tells when they follow.
 * @property {boolean} over
 */

/** @typedef {{ count: number, here: Map<string, string>, typing: Somebody[], marks: Record<string, object> }} Seen */
/** @typedef {import("../../build/types.js").Person} Somebody */

/** What a command may be refused with when anything may happen. */
const REFUSALS = /^(unavailable|rate-limited|unauthorized|forbidden|invalid-request|closed)$/;

/** Texts that a parser somewhere on the way may choke on. */
export const HOSTILE = [
  "",
  "hello",
  "</script><script>alert(1)</script>",
  "a\r\nb\nc\rd\0e",
  "\u2028 and \u2029",
  "\ud83d\ude00 \u00e9 \u6f22\u5b57",
  "\ud800 alone, and the other way \udc00",
  "data: x\n\nevent: end\ndata: {}\n\n",
  "'\"\\ <!-- ]]>",
  "\ufeffmark",
];

/** Somebody at a tab. */
export class Person {
  /** @type {Following[]} */
  followings = [];
  /** @type {Sending[]} */
  sendings = [];
  /** @type {string[]} As whom they were let in. */
  senders = [];
  /** @type {string[]} */
  states = [];
  /** @type {Map<string, Seen>} What they were told of the people in a channel, put together. */
  seen = new Map();
  /** How many commands wait for an answer. */
  asking = 0;
  loads = 0;
  sessionStorage = new MemoryStorage();
  /** @type {import("../../build/types.js").Connection} */
  connection;
  /** @type {Page} */
  page;

  /**
   * @param {import("./world.js").World} world
   * @param {string} name
   * @param {(url: string, options: any) => any} connect
   * @param {object} how
   * @param {import("./browser/browser.js").Browser} [how.browser]
   * @param {import("./browser/environment.js").Features} [how.features]
   * @param {boolean} [how.keeps] Whether a reload goes on where it was.
   * @param {Page["fate"]} [how.fate]
   * @param {number} [how.skew] How wrong the clock of the computer is.
   * @param {string} [how.account] Who they are, where they are no guest.
   * @param {import("../../build/types.js").Options} [how.options]
   */
  constructor(world, name, connect, { browser = world.browser(), features = MODERN, keeps = false, fate, skew = 0, account, options = {} }) {
    this.world = world;
    this.name = name;
    this.connect = connect;
    this.browser = browser;
    this.features = features;
    this.keeps = keeps;
    this.fate = fate;
    this.skew = skew;
    this.account = account;
    this.options = options;
    this.load();
  }

  /** The page loads, for the first time or again. */
  load() {
    const { world, name, options, keeps } = this;
    // One that crashes says nothing.
    if (this.page && !this.page.asleep && world.random.chance(0.8)) this.page.dispatch("pagehide", { persisted: false });
    this.page?.end();
    const page = new Page(world, this.browser, `${name}#${++this.loads}`, this.features, this.sessionStorage);
    this.page = page;
    page.skew = this.skew;
    if (this.fate) page.fate = this.fate;
    this.seen.clear();
    this.asking = 0;
    const storage = keeps ? { storage: this.sessionStorage } : {};
    this.connection = this.connect("/witter/", { ...options, ...storage, environment: page.environment });
    const { channels } = this.connection;
    for (const following of this.followings) {
      const goesOn = keeps && following.since && channels.includes(following.channel);
      if (!following.over && !goesOn) following.over = true;
    }
    channels.forEach((channel) => this.following(channel) ?? this.#begin(channel, options.history ?? 0, false));
    this.#listen();
  }

  /** @param {string} channel */
  following(channel) {
    return this.followings.find((one) => one.channel === channel && !one.over);
  }

  get live() {
    return /^(live|fallback)$/.test(this.connection.state.kind);
  }

  /** The transport that carries messages now. */
  get transport() {
    const { state } = this.connection;
    return "transport" in state ? state.transport : undefined;
  }

  /**
   * @param {string} channel
   * @param {unknown} [text]
   * @param {{ signal?: AbortSignal, refers?: any }} [options]
   */
  publish(channel, text = HOSTILE[this.sendings.length % HOSTILE.length], options = {}) {
    const number = this.sendings.length + 1;
    const author = this.keeps ? this.name : this.page.name;
    const body = { author, number, text };
    /** @type {Sending} */
    const sending = { author, number, channel, body, id: "", at: this.world.clock.now, page: this.loads, settled: undefined };
    this.sendings.push(sending);
    const promise = this.connection.publish(channel, /** @type {any} */ (body), options);
    sending.id = this.connection.unsent.at(-1)?.id ?? "";
    promise.then(
      (receipt) => this.#settle(sending, { offset: receipt.offset }),
      (error) => this.#settle(sending, { code: error.code ?? `no code: ${error.stack}` }),
    );
    return promise;
  }

  /**
   * Does a command, whatever becomes of it.
   *
   * @param {any} command
   */
  async perform(command) {
    const { page, world, name } = this;
    const { performed } = world.server;
    this.asking++;
    try {
      await this.connection.perform(command);
      const done = performed.some((one) => JSON.stringify(one.command) === JSON.stringify(command));
      if (!done) world.violate(`${name} was told that ${JSON.stringify(command)} is done`);
    } catch (/** @type {any} */ error) {
      if (!REFUSALS.test(error.code)) world.violate(`${name} asking: ${error.stack}`);
    }
    if (page === this.page) this.asking--;
  }

  /** Who they are to the others. */
  get sender() {
    return this.connection.session?.sender ?? this.account;
  }

  /**
   * @param {string} channel
   * @param {number} [history]
   */
  subscribe(channel, history) {
    this.world.note(`${this.name} subscribes to ${channel} with ${history}`);
    if (!this.following(channel)) this.#begin(channel, history ?? 0, true);
    const following = this.following(channel);
    const { page } = this;
    return this.connection.subscribe(channel, history === undefined ? {} : { history }).then(
      () => page === this.page && following && this.#since(following),
      (error) => {
        if (!/^(forbidden|aborted|closed)$/.test(error.code)) this.world.violate(`${this.name} subscribing: ${error.stack}`);
      },
    );
  }

  /** @param {string} channel */
  unsubscribe(channel) {
    this.world.note(`${this.name} leaves ${channel}`);
    const following = this.following(channel);
    if (following) following.over = true;
    this.seen.delete(channel);
    this.connection.unsubscribe(channel);
  }

  close() {
    this.followings.forEach((following) => (following.over = true));
    this.connection.close();
  }

  /**
   * @param {string} channel
   * @param {number} history
   * @param {boolean} asked
   */
  #begin(channel, history, asked) {
    this.followings.push({ channel, history, since: undefined, told: [], asked, over: false });
  }

  /** @param {Following} following */
  #since(following) {
    if (!following.since) this.world.note(`${this.name} is told that they follow ${following.channel}`);
    const log = this.world.server.mailbox.log(following.channel);
    following.since ??= { epoch: log?.epoch ?? 0, head: log?.head ?? 0 };
  }

  /**
   * @param {Sending} sending
   * @param {{ offset?: number, code?: string }} outcome
   */
  #settle(sending, { offset, code }) {
    const { settled } = sending;
    if (settled && (settled.offset !== offset || settled.code !== code) && settled.code !== "closed") {
      this.world.violate(`${this.name}'s ${sending.number} became ${JSON.stringify(settled)}, then ${offset ?? code}`);
    }
    const told = { at: this.world.clock.now };
    sending.settled = offset === undefined ? { ...told, code } : { ...told, offset };
    if (code) this.world.note(`${this.name}'s ${sending.number} failed: ${code}`);
  }

  /** @param {import("../../build/types.js").Presence} told */
  #see({ channel, count, here, joined = [], left = [], typing, marks }) {
    if (here) this.seen.set(channel, { count: 0, here: new Map(), typing: [], marks: {} });
    const seen = this.seen.get(channel);
    if (!seen) return;
    for (const { sender, name } of [...(here ?? []), ...joined]) seen.here.set(sender, name);
    for (const { sender } of left) seen.here.delete(sender);
    seen.count = count ?? seen.count;
    seen.typing = typing ?? seen.typing;
    Object.assign(seen.marks, marks);
  }

  #listen() {
    const { connection, page, world } = this;
    const hear = (/** @type {any} */ event, /** @type {(told: any) => void} */ listener) =>
      connection.on(event, (/** @type {any} */ told) => {
        if (!page.alive) world.violate(`${page.name} heard of ${event} after its end`);
        listener(told);
      });
    hear("message", (message) => {
      const following = this.following(message.channel);
      if (following) following.told.push({ message });
      else world.violate(`${this.name} heard a message of ${message.channel}, which they do not follow`);
    });
    hear("gap", (gap) => {
      world.note(`${this.name} heard of a gap: ${JSON.stringify(gap)}`);
      const following = this.following(gap.channel);
      if (following) following.told.push({ gap });
      else world.violate(`${this.name} heard of a gap in ${gap.channel}, which they do not follow`);
    });
    hear("state", (state) => {
      world.note(`${this.name} is ${state.kind} ${state.transport ?? state.reason ?? ""}`);
      this.states.push(state.kind);
      if (this.live) this.followings.forEach((one) => one.over || one.asked || this.#since(one));
    });
    hear("denied", ({ channel }) => {
      const following = this.following(channel);
      if (following) following.over = true;
      this.seen.delete(channel);
    });
    hear("presence", (told) => {
      if (!this.following(told.channel)) world.violate(`${this.name} heard of who is in ${told.channel}, which they do not follow`);
      this.#see(told);
    });
    hear("session", ({ sender }) => {
      world.note(`${this.name} is let in as ${sender}`);
      this.senders.push(sender);
    });
    hear("stored", ({ id, offset }) => {
      const sending = this.sendings.find((one) => one.id === id);
      if (sending) this.#settle(sending, { offset });
      else world.violate(`${this.name} was told that ${id} is stored`);
    });
    hear("failed", ({ id, error }) => {
      const sending = this.sendings.find((one) => one.id === id);
      if (sending) this.#settle(sending, { code: error.code });
    });
  }
}
