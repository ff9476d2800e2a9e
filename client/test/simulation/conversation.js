// @ts-check
import { Refused, checkChannel } from "./server.js";

const LIMIT = 100;
const MOST_CHANNELS = 64;

/** When a stream beats first, in milliseconds, where the request names a heartbeat. */
const FIRST_BEAT = 1000;

/** The server's end of one WebSocket: `Conversation` in `crates/guest`. */
export class Conversation {
  #server;
  #socket;
  #reader;
  #observer;
  #token;
  #heartbeat;
  /** @type {import("./clock.js").Event | undefined} */
  #beat;
  /** Whether a heartbeat was sent. */
  #beaten = false;
  #watch = () => this.#pour();

  /**
   * @param {import("./server.js").Server} server
   * @param {import("./server.js").Socket} socket
   * @param {import("./reader.js").Reader} reader
   * @param {import("./presence.js").Observer | undefined} observer
   * @param {string | null} token
   * @param {number} heartbeat In milliseconds.
   */
  constructor(server, socket, reader, observer, token, heartbeat) {
    this.#server = server;
    this.#socket = socket;
    this.#reader = reader;
    this.#observer = observer;
    this.#token = token;
    this.#heartbeat = heartbeat;
    server.open.add(this);
    server.watchers.add(this.#watch);
    socket.heard = (text) => this.#hear(text);
    socket.left = () => this.#leave();
    this.#say({ open: true, cursor: reader.cursor });
    this.#pour();
  }

  /** @param {import("./server.js").Refusal} [refusal] Why it ends; none: to be opened again. */
  finish(refusal) {
    const { error: end = "reopen", ...rest } = refusal ?? {};
    this.#say({ end, ...rest });
    this.#leave();
    this.#socket.close(refusal ? 1008 : 1001, end);
  }

  lag() {
    this.#observer?.forget();
  }

  /**
   * @param {string} channel
   * @param {import("./server.js").Refusal} refusal
   */
  deny(channel, refusal) {
    this.#observer?.remove(channel);
    if (this.#reader.places.delete(channel)) this.#say({ denied: { channel, ...refusal } });
  }

  #pour() {
    const frames = this.#reader.take(LIMIT);
    frames.forEach((frame) => this.#say(frame));
    this.#observer?.take().forEach((frame) => this.#say(frame));
    if (frames.length) this.#pour();
  }

  /** @param {string} text */
  #hear(text) {
    /** @type {{ ref?: unknown }} */
    let named = {};
    try {
      const { ref, publish, subscribe, unsubscribe, command } = JSON.parse(text);
      if (ref !== undefined) named = { ref };
      if (publish) {
        const trouble = this.#server.trouble({ route: "websocket-publish" });
        const store = () => {
          const { id, body, refers, drafts = { id, body, refers } } = publish;
          return this.#server.publish(this.#token, publish.channel, drafts);
        };
        if (trouble) {
          if (trouble.stored) store();
          throw trouble.refused;
        }
        this.#say({ ...named, published: store() });
      } else if (subscribe) {
        const { channel, after, history = 0 } = subscribe;
        checkChannel(channel);
        const { places } = this.#reader;
        const trouble = this.#server.trouble({ route: "websocket-subscribe" });
        if (trouble) throw trouble.refused;
        if (after !== undefined) throw new Refused("invalid-request", "this server is asked without it");
        if (places.has(channel) || places.size === MOST_CHANNELS) throw new Refused("invalid-request", "channel");
        this.#server.mayRead(this.#token, [channel]);
        this.#reader.add(channel, undefined, history);
        this.#observer?.add(channel);
        this.#say({ ...named, subscribed: channel, cursor: this.#reader.cursor });
        this.#pour();
      } else if (unsubscribe) {
        this.#reader.places.delete(unsubscribe.channel);
        this.#observer?.remove(unsubscribe.channel);
        this.#say({ ...named, unsubscribed: unsubscribe.channel, cursor: this.#reader.cursor });
      } else if (command) {
        const trouble = this.#server.trouble({ route: "websocket-command" });
        if (trouble) throw trouble.refused;
        this.#say({ ...named, answer: this.#server.perform(this.#token, command) });
      } else throw new Refused("unprocessable", "one of publish, subscribe, unsubscribe, command is expected");
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.#say({ ...named, ...error.refusal });
    }
  }

  /** @param {Record<string, unknown>} frame */
  #say(frame) {
    this.#socket.send(JSON.stringify(frame));
    if (frame.ref !== undefined) return;
    const { clock } = this.#server;
    clock.cancel(this.#beat);
    // The first one soon: it tells whether what comes alone gets through.
    this.#beat = clock.after(this.#beaten ? this.#heartbeat : FIRST_BEAT, () => {
      this.#beaten = true;
      this.#say({ heartbeat: true });
    });
  }

  #leave() {
    const { clock, open, watchers } = this.#server;
    clock.cancel(this.#beat);
    this.#observer?.leave();
    open.delete(this);
    watchers.delete(this.#watch);
  }
}
