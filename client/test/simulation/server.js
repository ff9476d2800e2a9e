// @ts-check
import { Conversation } from "./conversation.js";
import { NDJSON, htmlfile, jsonp, sse } from "./framing.js";
import { Mailbox } from "./mailbox.js";
import { Observer, Presence } from "./presence.js";
import { Reader, decode } from "./reader.js";
import { Stream } from "./stream.js";

/** @typedef {import("./mailbox.js").Position} Position */
/** @typedef {{ error: string, detail: string, retry_after?: number }} Refusal */
/** @typedef {{ sender: string, name: string, expires_at: number, publish: (channel: string) => boolean }} Identity */

/**
 * @typedef {object} Request
 * @property {string} method
 * @property {string} route
 * @property {URLSearchParams} query
 * @property {string} [body]
 * @property {string} [lastEventId]
 */

/**
 * What a request is answered by, in this order: once `head`, `write` at will, once `end`.
 *
 * @typedef {object} Response
 * @property {(status: number, type: string) => void} head
 * @property {(text: string) => void} write
 * @property {() => void} end
 * @property {() => void} left Set by the server: nobody reads this any more.
 */

/**
 * The server's end of a WebSocket.
 *
 * @typedef {object} Socket
 * @property {(text: string) => void} send
 * @property {(code: number, reason: string) => void} close
 * @property {(text: string) => void} heard Set by the server.
 * @property {() => void} left Set by the server.
 */

/** @type {Record<string, number>} */
const STATUS = {
  "invalid-request": 400,
  unauthorized: 401,
  forbidden: 403,
  "not-found": 404,
  "method-not-allowed": 405,
  "id-reused": 409,
  "too-large": 413,
  unprocessable: 422,
  "rate-limited": 429,
  unavailable: 503,
};

const CHANNEL = /^(?=.{1,64}$)@?[A-Za-z0-9\-._~]+$/;
const MOST_CHANNELS = 64;
const MOST_DRAFTS = 100;
const LONGEST_BODY = 65_536;
const LONGEST_COMMAND = 4096;

/** What a reader is told whose credential ends. */
const EXPIRED = { error: "unauthorized", detail: "the credential has expired" };

/** What the server says instead of an answer. */
export class Refused extends Error {
  /**
   * @param {string} code
   * @param {string} detail
   * @param {number} [retryAfter] In seconds.
   */
  constructor(code, detail, retryAfter) {
    super(detail);
    /** @type {Refusal} */
    this.refusal = { error: code, detail };
    if (retryAfter !== undefined) this.refusal.retry_after = retryAfter;
  }
}

/** A server as the README tells of it, its store included. */
export class Server {
  #random;
  /** @type {Map<string, Identity>} */
  #identities = new Map();
  #guests = 0;
  /** Who waits for messages: what is called when there may be some. */
  watchers = new Set();
  /** Every open stream and conversation. */
  open = new Set();

  /** What guests live, in milliseconds. */
  lifetime = 86_400_000;
  guests = true;
  anonymousRead = true;
  /** Channels that nobody may read. */
  forbidden = new Set();
  /** @type {{ sender: string, command: any }[]} What was done, in its order. */
  performed = [];
  /**
   * Why a request is not served now; `stored` where what it sent is stored all the same.
   *
   * @type {(request: { route: string }) => { refused: Refused, stored?: boolean } | undefined}
   */
  trouble = () => undefined;
  /**
   * Why one draft of many is not stored now, nor those behind it.
   *
   * @type {() => Refusal | undefined}
   */
  draftTrouble = () => undefined;

  /**
   * @param {import("./clock.js").Clock} clock
   * @param {import("./random.js").Random} random
   */
  constructor(clock, random) {
    this.clock = clock;
    this.#random = random;
    this.mailbox = new Mailbox(clock);
    this.presence = new Presence(clock, () => this.wake());
  }

  /**
   * Somebody with a token that the deployment's own backend signed.
   *
   * @param {string} token
   * @param {string} sender
   * @param {number} lifetime
   */
  admit(token, sender, lifetime = Infinity) {
    const expires_at = this.clock.now + lifetime;
    this.#identities.set(token, { sender, name: sender, expires_at, publish: () => true });
  }

  /**
   * No guest's token holds any longer that is as old as this, as where the secret was changed.
   *
   * @param {number} least In milliseconds.
   */
  forgetGuests(least = 0) {
    for (const [token, { sender, expires_at }] of this.#identities) {
      const age = this.lifetime - (expires_at - this.clock.now);
      if (sender.startsWith("guest~") && age >= least) this.#identities.delete(token);
    }
  }

  /** @param {string} channel */
  forbid(channel) {
    this.forbidden.add(channel);
    for (const stream of this.open) stream.deny(channel, this.#denial(channel).refusal);
  }

  /** A reader lags behind what is told of people, and is told all of it. */
  lag() {
    for (const stream of this.open) stream.lag();
    this.wake();
  }

  /** The host stops, in order: it tells all readers to come again. */
  stop() {
    for (const stream of [...this.open]) stream.finish();
  }

  /**
   * @param {Request} request
   * @param {Response} response
   */
  handle(request, response) {
    const { query, route } = request;
    const callback = route.startsWith("jsonp-") ? query.get("callback") : undefined;
    const inline = query.get("errors") === "inline" || callback !== undefined || route === "htmlfile";
    const framing = this.#framing(route, query);
    /** @param {unknown} answer */
    const answer = (answer, status = 200) => {
      response.head(inline ? 200 : status, callback ? "text/javascript; charset=utf-8" : "application/json");
      response.write(callback ? jsonp(callback, answer) : JSON.stringify(answer));
      response.end();
    };
    try {
      if (callback === null || (route === "htmlfile" && !framing)) {
        response.head(400, "application/json");
        response.write(JSON.stringify(new Refused("invalid-request", "callback").refusal));
        return response.end();
      }
      const trouble = this.trouble(request);
      if (trouble) {
        if (trouble.stored && route.endsWith("publish")) this.#publish(request, () => undefined);
        throw trouble.refused;
      }
      const method = /^(publish|session|command)$/.test(route) ? "POST" : "GET";
      if (request.method !== method) throw new Refused("method-not-allowed", `the method here is ${method}`);
      if (route === "session" || route === "jsonp-session") return answer(this.#welcome(request), 201);
      if (route === "publish" || route === "jsonp-publish") {
        const told = this.#publish(request, this.draftTrouble);
        return answer(told, 201);
      }
      if (route === "command" || route === "jsonp-command") {
        const command = json(request.body ?? one(query, "command") ?? "");
        return answer(this.perform(query.get("token"), command));
      }
      if (framing) return this.#stream(request, response, framing);
      if (/^(short|long|jsonp)-polling$/.test(route)) return this.#poll(request, response, answer);
      if (route === "websocket") {
        response.head(426, "application/json");
        response.write('{"error":"upgrade-required","detail":"","next":"sse"}');
        return response.end();
      }
      throw new Refused("not-found", "nothing is here");
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      const { refusal } = error;
      if (!inline || !framing) return answer(refusal, STATUS[refusal.error]);
      const { error: end, ...rest } = refusal;
      response.head(200, framing.type);
      response.write(framing.prelude + framing.write({ end, ...rest }));
      response.end();
    }
  }

  /**
   * @param {Request} request
   * @param {Socket} socket
   */
  connect(request, socket) {
    try {
      const trouble = this.trouble(request);
      if (trouble) throw trouble.refused;
      const { query } = request;
      const { reader, observer } = this.#reader(request);
      const heartbeat = number(query, "heartbeat", 1, 55, 15) * 1000;
      const conversation = new Conversation(this, socket, reader, observer, query.get("token"), heartbeat);
      this.#expire(query, conversation);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      const { error: end, ...rest } = error.refusal;
      socket.send(JSON.stringify({ end, ...rest }));
      const away = STATUS[end] === 429 || STATUS[end] === 503;
      socket.close(away ? 1013 : 1008, end);
    }
  }

  /**
   * @param {string} route
   * @param {URLSearchParams} query
   */
  #framing(route, query) {
    if (route === "sse") return sse(query.has("heartbeat"));
    if (route === "xhr-streaming") return NDJSON;
    const origin = query.get("origin");
    return route === "htmlfile" && origin ? htmlfile(origin) : undefined;
  }

  /** @param {Request} request */
  #welcome({ query, body }) {
    const name = body === undefined ? query.get("name") : json(body).name;
    if (typeof name !== "string" || !name.trim()) throw new Refused("unprocessable", "name: 1 to 64 characters");
    if (!this.guests) throw new Refused("forbidden", "this deployment has no guests");
    const sender = `guest~${++this.#guests}`;
    const token = `${sender}.${this.#random.bits().toString(36)}`;
    const expires_at = this.clock.now + this.lifetime;
    const publish = (/** @type {string} */ channel) => !channel.startsWith("@");
    this.#identities.set(token, { sender, name, expires_at, publish });
    return { token, sender, name, expires_at };
  }

  /**
   * @param {string | null} token
   * @returns {Identity | undefined}
   */
  #identity(token) {
    if (!token) return undefined;
    const identity = this.#identities.get(token);
    if (!identity || identity.expires_at <= this.clock.now) throw new Refused("unauthorized", "the token has expired");
    return identity;
  }

  /**
   * @param {Request} request
   * @param {() => Refusal | undefined} trouble
   */
  #publish({ query, body }, trouble) {
    const channel = one(query, "channel") ?? "";
    const refers = one(query, "refers");
    const draft = () => ({ id: query.get("id"), body: json(query.get("body") ?? ""), ...(refers && { refers: json(refers) }) });
    return this.publish(query.get("token"), channel, body === undefined ? draft() : json(body), trouble);
  }

  /**
   * @param {string | null} token
   * @param {string} channel
   * @param {any} sent One draft, or an array of them.
   * @param {() => Refusal | undefined} trouble
   */
  publish(token, channel, sent, trouble = this.draftTrouble) {
    checkChannel(channel);
    const drafts = Array.isArray(sent) ? sent : [sent];
    if (drafts.length < 1 || drafts.length > MOST_DRAFTS) throw new Refused("unprocessable", "1 to 100 drafts");
    for (const { id, body, refers } of drafts) {
      if (refers !== undefined && !isReference(refers)) throw new Refused("unprocessable", "refers");
      if (typeof id !== "string" || !/^[!-~]{1,64}$/.test(id)) throw new Refused("unprocessable", "id");
      if (body === undefined) throw new Refused("unprocessable", "body: missing");
    }
    const identity = this.#identity(token);
    if (!identity) throw new Refused("unauthorized", "publishing needs a credential");
    if (!identity.publish(channel)) throw new Refused("forbidden", `publishing in ${channel} is not allowed`);
    /** @type {Refusal | undefined} */
    let why;
    const answers = drafts.map(({ id, body, refers }) => {
      // Behind one that is not stored none is: they are stored in order.
      why ??= Array.isArray(sent) ? trouble() : undefined;
      if (why) return { ...why, id };
      if (Buffer.byteLength(JSON.stringify(body)) > LONGEST_BODY) {
        if (!Array.isArray(sent)) throw new Refused("too-large", "too much at once");
        return { error: "too-large", detail: "too much at once", id };
      }
      const stored = this.mailbox.publish(identity, channel, { id, body, refers });
      if ("offset" in stored) return { channel, offset: stored.offset, id };
      if (!Array.isArray(sent)) throw new Refused(stored.error, "the id was used before, for another body");
      return { error: stored.error, detail: "the id was used before, for another body", id };
    });
    this.wake();
    return Array.isArray(sent) ? answers : answers[0];
  }

  /**
   * @param {string | null} token
   * @param {any} command
   * @returns {object}
   */
  perform(token, command) {
    if (JSON.stringify(command).length > LONGEST_COMMAND) throw new Refused("too-large", "too much at once");
    const [verb, ...more] = Object.keys(Object(command));
    const about = command[verb];
    if (more.length || typeof about !== "object" || !/^(me|typing|read)$/.test(verb)) {
      throw new Refused("unprocessable", "one of me, typing, read is expected");
    }
    const identity = this.#identity(token);
    if (!identity) throw new Refused("unauthorized", "this needs a credential");
    const { sender, name } = identity;
    const { channel, over = false, offset = 0, delivered = 0 } = about;
    if (verb !== "me") {
      checkChannel(channel);
      this.mayRead(token, [channel]);
    }
    this.performed.push({ sender, command });
    if (verb === "me") return { sender, name, channel: `@me~${sender}` };
    if (verb === "typing") {
      this.presence.type(identity, channel, over);
      return { channel, typing: !over, ...(!over && { seconds: 6 }) };
    }
    const head = this.mailbox.log(channel)?.head ?? 0;
    if (offset > head || delivered > head) throw new Refused("invalid-request", "offset: beyond the newest message");
    return { channel, ...this.presence.mark(identity, channel, { read: offset, delivered }) };
  }

  /** Tells all readers that there may be something, a little later. */
  wake() {
    for (const watcher of this.watchers) this.clock.after(this.#random.between(0, 20), watcher);
  }

  /** @param {string} channel */
  #denial(channel) {
    return new Refused("forbidden", `reading ${channel} is not allowed`);
  }

  /**
   * @param {string | null} token
   * @param {string[]} channels
   */
  mayRead(token, channels) {
    const identity = this.#identity(token);
    for (const channel of channels) {
      if (this.forbidden.has(channel) || (channel.startsWith("@") && !identity)) throw this.#denial(channel);
      if (!identity && !this.anonymousRead) throw new Refused("unauthorized", "reading needs a credential");
    }
  }

  /** @param {Request} request */
  #reader({ query, lastEventId }) {
    const channels = query.getAll("channel");
    channels.forEach(checkChannel);
    const distinct = new Set(channels).size;
    if (!distinct || distinct < channels.length || distinct > MOST_CHANNELS) {
      throw new Refused("invalid-request", "channel: 1 to 64, each once");
    }
    const cursor = lastEventId || one(query, "after");
    const after = cursor ? decode(cursor) : new Map();
    if (!after) throw new Refused("invalid-request", "cursor: not one of this server's");
    const history = number(query, "history", 0, 1000, 0);
    this.mayRead(query.get("token"), channels);
    const reader = new Reader(this.mailbox);
    for (const channel of channels) reader.add(channel, after.get(channel), history);
    const known = one(query, "presence");
    if (known !== undefined && !/^[\w-]{0,704}$/.test(known)) throw new Refused("invalid-request", "presence");
    const observer = known === undefined ? undefined : new Observer(this.presence, this.#identity(query.get("token")));
    channels.forEach((channel) => observer?.add(channel));
    return { reader, observer, known, resumes: channels.every((channel) => after.has(channel)) };
  }

  /**
   * @param {Request} request
   * @param {Response} response
   * @param {import("./framing.js").Framing} framing
   */
  #stream(request, response, framing) {
    const { reader, observer } = this.#reader(request);
    const heartbeat = number(request.query, "heartbeat", 1, 55, 15) * 1000;
    this.#expire(request.query, new Stream(this, response, reader, observer, framing, heartbeat));
  }

  /**
   * What was opened ends when its credential does.
   *
   * @param {URLSearchParams} query
   * @param {{ finish: (refusal: Refusal) => void }} opened
   */
  #expire(query, opened) {
    const { expires_at = Infinity } = this.#identity(query.get("token")) ?? {};
    if (expires_at === Infinity) return;
    this.clock.after(expires_at - this.clock.now, () => this.open.has(opened) && opened.finish(EXPIRED));
  }

  /**
   * @param {Request} request
   * @param {Response} response
   * @param {(answer: unknown) => void} answer
   */
  #poll(request, response, answer) {
    const { query, route } = request;
    const limit = number(query, "limit", 1, 1000, 100);
    const wait = route === "short-polling" ? 0 : number(query, "wait", 0, 55, 25);
    if (query.has("before")) {
      const channel = one(query, "channel") ?? "";
      if (query.has("after") || query.has("history")) throw new Refused("invalid-request", "before");
      this.mayRead(query.get("token"), [channel]);
      const { envelopes, before } = this.mailbox.history(channel, number(query, "before", 0, Infinity, 0), limit);
      return answer({ envelopes, gaps: [], before });
    }
    const { reader, observer, known = "", resumes } = this.#reader(request);
    const tell = () => {
      const frames = reader.take(limit);
      const envelopes = frames.flatMap(({ envelope }) => envelope ?? []);
      const gaps = frames.flatMap(({ gap }) => gap ?? []);
      const people = observer?.batch(known);
      if (!frames.length && !people?.state && !over) return;
      leave();
      answer({ envelopes, gaps, cursor: reader.cursor, ...people });
    };
    let over = wait === 0 || !resumes;
    const deadline = this.clock.after(wait * 1000, () => {
      over = true;
      tell();
    });
    const leave = () => {
      this.clock.cancel(deadline);
      this.watchers.delete(tell);
      this.open.delete(held);
      observer?.leave();
    };
    // A host that stops answers what is held; what is denied is told to whoever asks next.
    const held = { finish: () => ((over = true), tell()), deny() {}, lag() {} };
    this.watchers.add(tell);
    this.open.add(held);
    this.#expire(query, held);
    response.left = leave;
    tell();
  }
}

/** @param {string} text */
function json(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Refused("invalid-request", "not JSON");
  }
}

/** @param {any} refers */
const isReference = (refers) => /^(edit|delete|reaction|reply)$/.test(refers?.kind) && Number.isInteger(refers.offset);

/** @param {string} name */
export function checkChannel(name) {
  if (!CHANNEL.test(name)) throw new Refused("invalid-request", `channel: ${name}`);
}

/**
 * @param {URLSearchParams} query
 * @param {string} name
 */
function one(query, name) {
  const all = query.getAll(name);
  if (all.length > 1) throw new Refused("invalid-request", `${name}: more than one value`);
  return all[0];
}

/**
 * @param {URLSearchParams} query
 * @param {string} name
 * @param {number} low
 * @param {number} high
 * @param {number} absent
 */
function number(query, name, low, high, absent) {
  const text = one(query, name);
  if (text === undefined) return absent;
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (!(value >= low && value <= high)) throw new Refused("invalid-request", `${name}: a number from ${low} to ${high}`);
  return value;
}
