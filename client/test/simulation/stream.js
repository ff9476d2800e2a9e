// @ts-check

/** How many messages are taken from the store at once. */
const LIMIT = 100;

/** When a stream beats first, in milliseconds, where the request names a heartbeat. */
const FIRST_BEAT = 1000;

/** One response that goes on: `pour` in `crates/guest`. */
export class Stream {
  #server;
  #response;
  #reader;
  #observer;
  #framing;
  #heartbeat;
  #written = 0;
  /** @type {import("./clock.js").Event | undefined} */
  #beat;
  /** Whether a heartbeat was sent. */
  #beaten = false;
  #end;
  #watch = () => this.#pour();

  /**
   * @param {import("./server.js").Server} server
   * @param {import("./server.js").Response} response
   * @param {import("./reader.js").Reader} reader
   * @param {import("./presence.js").Observer | undefined} observer
   * @param {import("./framing.js").Framing} framing
   * @param {number} heartbeat In milliseconds.
   */
  constructor(server, response, reader, observer, framing, heartbeat) {
    this.#server = server;
    this.#response = response;
    this.#reader = reader;
    this.#observer = observer;
    this.#framing = framing;
    this.#heartbeat = heartbeat;
    this.#end = framing.longest < Infinity ? server.clock.after(framing.longest, () => this.finish()) : undefined;
    server.open.add(this);
    server.watchers.add(this.#watch);
    response.left = () => this.#leave();
    response.head(200, framing.type);
    response.write(framing.prelude);
    this.#tell({ open: true, cursor: reader.cursor });
    this.#pour();
  }

  /**
   * Ends in order: the reader comes again, or is told why not.
   *
   * @param {import("./server.js").Refusal} [refusal]
   */
  finish(refusal) {
    const { error: end = "reopen", ...rest } = refusal ?? {};
    this.#tell({ end, ...rest });
    this.#leave();
    this.#response.end();
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
    if (this.#reader.places.delete(channel)) this.#tell({ denied: { channel, ...refusal } });
  }

  #pour() {
    const frames = this.#reader.take(LIMIT);
    frames.forEach((frame) => this.#tell(frame));
    this.#observer?.take().forEach((frame) => this.#tell(frame));
    if (this.#written >= this.#framing.mostBytes) this.finish();
    else if (frames.length) this.#pour();
  }

  /** @param {Record<string, unknown>} frame */
  #tell(frame) {
    const text = this.#framing.write(frame);
    this.#written += text.length;
    this.#response.write(text);
    const { clock } = this.#server;
    clock.cancel(this.#beat);
    // The first one soon: it tells whether what comes alone gets through.
    this.#beat = clock.after(this.#beaten ? this.#heartbeat : FIRST_BEAT, () => {
      this.#beaten = true;
      this.#tell({ heartbeat: true });
    });
  }

  #leave() {
    const { clock, open, watchers } = this.#server;
    clock.cancel(this.#beat);
    clock.cancel(this.#end);
    this.#observer?.leave();
    open.delete(this);
    watchers.delete(this.#watch);
  }
}
