// @ts-check

/**
 * What becomes of a request on its way.
 *
 * @typedef {object} Fate
 * @property {"served" | "refused" | "swallowed" | "page"} kind `swallowed`: nothing is ever heard of it. `page`: a
 * proxy answers it with a page of its own.
 * @property {number} up How long it travels, in milliseconds.
 * @property {number} down How long what comes back travels.
 * @property {number} [status] Of the proxy's page.
 * @property {boolean} [hold] What comes back is held until its end, as by a proxy that buffers.
 * @property {boolean} [deaf] It is served, and nothing comes back.
 * @property {number} [again] It arrives once more, so much later.
 * @property {{ after: number, how: "fail" | "end" | "silence" }} [cut] What comes back breaks off behind so many bytes.
 * @property {boolean} [split] What comes back arrives in pieces of any length.
 */

/** @typedef {import("./server.js").Request & { transport: string }} Request */

/** A page that a proxy or a captive portal answers with. */
export const PROXY_PAGE = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>\r\n";

/** How long a browser waits for what never comes, in milliseconds; until then it keeps the connection busy. */
const STALLED = 60_000;

/** How long a server takes to notice that a peer has vanished without a word, in milliseconds. */
const VANISHED = 45_000;

/**
 * What hears of a request's answer, in this order: once `head`, chunks, once `end`; or `fail` at any point.
 *
 * @typedef {object} Hearer
 * @property {(status: number, type: string) => void} head
 * @property {(bytes: Buffer) => void} chunk
 * @property {() => void} end
 * @property {() => void} fail
 */

/** What an exchange and a socket have in common: two ends, which a network may part. */
class Wire {
  /** Whether the page hears of it. */
  heard = true;
  /** Whether the server hears of it. */
  served = false;
  /** Whether the page can end it. */
  stoppable = true;
  /** What came first arrives first. */
  #arrival = 0;
  /** @type {() => void} */
  #tellServer = () => {};

  /**
   * @param {import("./page.js").Page} page
   * @param {Request} request
   */
  constructor(page, request) {
    this.page = page;
    this.request = request;
    this.fate = page.fate(request);
    this.clock = page.world.clock;
    this.random = page.world.random;
    page.wires.add(this);
  }

  /** @param {() => void} left */
  serve(left) {
    this.served = true;
    this.#tellServer = left;
  }

  /**
   * Something arrives at the page.
   * @param {() => void} run
   */
  down(run, extra = 0) {
    const delay = this.fate.down + extra + (this.random.chance(0.2) ? this.random.between(0, this.fate.down) : 0);
    this.#arrival = Math.max(this.#arrival, this.clock.now + delay);
    this.clock.after(this.#arrival - this.clock.now, () => this.heard && this.page.run(run));
  }

  /** The page hears nothing more. */
  close() {
    this.heard = false;
    this.page.wires.delete(this);
  }

  /** The server hears, after a while, that nobody is there. */
  leave(after = this.fate.up) {
    if (this.served) this.clock.after(after, () => this.unserve());
  }

  unserve() {
    if (this.served) {
      this.served = false;
      this.#tellServer();
    }
  }

  /** Neither end hears anything any more; the server will notice. */
  silence() {
    this.heard = false;
    this.leave(VANISHED);
  }

  /** How many of these bytes get through. */
  #passed = 0;
  /** @param {number} length */
  allow(length) {
    const { cut } = this.fate;
    const allowed = cut ? Math.max(0, Math.min(length, cut.after - this.#passed)) : length;
    this.#passed += length;
    return allowed;
  }
}

/** One request over HTTP. */
export class Exchange extends Wire {
  #hearer;
  /** @type {Buffer[]} */
  #held = [];
  /** @type {[number, string] | undefined} */
  #head;
  #over = false;
  #cut = false;

  /**
   * @param {import("./page.js").Page} page
   * @param {Request} request
   * @param {Hearer} hearer
   */
  constructor(page, request, hearer) {
    super(page, request);
    this.#hearer = hearer;
    page.world.sent(page, request);
    this.leaveQueue = page.browser.enter(() => this.#begin());
  }

  /** The page asks for it no longer. */
  abort() {
    if (this.#over) return;
    this.#finish();
    this.leave();
  }

  /** The connection breaks, and the page hears so, and nothing of what was on its way. */
  break() {
    if (this.#over) return;
    this.leave(0);
    this.heard = false;
    this.clock.after(this.fate.down, () => this.page.run(() => this.#fail()));
  }

  silence() {
    super.silence();
    // A browser that wakes up finds its sockets dead, and has room for new ones.
    this.leaveQueue();
  }

  #begin() {
    const { page, fate } = this;
    if (this.#over || !this.heard) return;
    if (!page.online) return this.down(() => this.#fail());
    if (fate.kind === "swallowed" || fate.deaf) this.#stall();
    if (fate.kind === "swallowed") return;
    if (fate.kind === "refused") return this.down(() => this.#fail(), fate.up);
    if (fate.kind === "page") {
      return void this.clock.after(fate.up, () => {
        this.#headed(fate.status ?? 502, "text/html");
        this.#write(Buffer.from(PROXY_PAGE));
        this.#end();
      });
    }
    this.clock.after(fate.up, () => this.#arrive());
    if (fate.again !== undefined) this.clock.after(fate.up + fate.again, () => this.#arriveAgain());
  }

  #arrive() {
    const { server } = this.page.world;
    if (this.page.cutOff) return;
    const response = {
      head: (/** @type {number} */ status, /** @type {string} */ type) => this.#headed(status, type),
      write: (/** @type {string} */ text) => this.#write(Buffer.from(text)),
      end: () => this.#end(),
      left() {},
    };
    this.serve(() => response.left());
    server.handle(this.request, response);
    // It was on its way when the page asked for it no longer: it is served all the same.
    if (this.#over) this.leave(0);
  }

  #arriveAgain() {
    const response = { head() {}, write() {}, end() {}, left() {} };
    this.page.world.server.handle(this.request, response);
    response.left();
  }

  /**
   * @param {number} status
   * @param {string} type
   */
  #headed(status, type) {
    this.#head = [status, type];
    if (!this.fate.hold && !this.fate.deaf) this.down(() => this.#hearer.head(status, type));
  }

  /** @param {Buffer} bytes */
  #write(bytes) {
    if (this.fate.hold) this.#held.push(bytes);
    else this.#pour(bytes);
  }

  #end() {
    this.served = false;
    if (this.fate.deaf) return;
    if (this.fate.hold && this.#head) {
      const [status, type] = this.#head;
      this.down(() => this.#hearer.head(status, type));
      this.#pour(Buffer.concat(this.#held));
    }
    if (!this.#cut) this.#ended();
  }

  /** @param {Buffer} bytes */
  #pour(bytes) {
    if (this.fate.deaf || this.#cut) return;
    const allowed = this.allow(bytes.length);
    let rest = bytes.subarray(0, allowed);
    while (this.fate.split && rest.length > 1 && this.random.chance(0.7)) {
      const piece = rest.subarray(0, this.random.between(1, Math.min(rest.length - 1, 400)));
      rest = rest.subarray(piece.length);
      this.down(() => this.#hearer.chunk(piece));
    }
    if (rest.length) this.down(() => this.#hearer.chunk(rest));
    if (allowed < bytes.length) {
      this.#cut = true;
      this.leave(0);
      const how = this.fate.cut?.how;
      if (how === "fail") this.down(() => this.#fail());
      else if (how === "end") this.#ended();
      else this.#stall();
    }
  }

  #ended() {
    this.down(() => {
      this.#finish();
      this.#hearer.end();
    });
  }

  #stall() {
    this.clock.after(STALLED, () => !this.#over && this.heard && this.page.run(() => this.#fail()));
  }

  #fail() {
    if (this.#over) return;
    this.#finish();
    this.#hearer.fail();
  }

  #finish() {
    this.#over = true;
    this.close();
    this.leaveQueue();
  }
}

/**
 * @typedef {object} SocketHearer
 * @property {() => void} open
 * @property {(text: string) => void} message
 * @property {(code: number, reason: string) => void} close
 */

/** One WebSocket. Its messages arrive whole or not at all. */
export class SocketWire extends Wire {
  #hearer;
  /** @type {import("./server.js").Socket | undefined} */
  #socket;
  #over = false;
  #sent = 0;

  /**
   * @param {import("./page.js").Page} page
   * @param {Request} request
   * @param {SocketHearer} hearer
   */
  constructor(page, request, hearer) {
    super(page, request);
    const { fate } = this;
    this.#hearer = hearer;
    page.world.sent(page, request);
    if (!page.online || fate.kind === "refused" || fate.kind === "page") return this.#breakLater(fate.up);
    if (fate.kind === "swallowed") return;
    this.clock.after(fate.up, () => this.#arrive());
  }

  /** @param {string} text */
  send(text) {
    this.page.world.sentText(this.page, text);
    this.#sent = Math.max(this.#sent, this.clock.now + this.fate.up);
    this.clock.after(this.#sent - this.clock.now, () => {
      if (this.served && this.heard && !this.page.cutOff) this.#socket?.heard(text);
    });
  }

  /** The page closes it, and hears of that later, whether the server answers or not. */
  abort() {
    if (this.#over) return;
    this.#over = true;
    this.leave();
    this.close();
    this.clock.after(this.fate.up, () => this.page.run(() => this.#hearer.close(1005, "")));
  }

  break() {
    if (this.#over) return;
    this.leave(0);
    this.heard = false;
    this.clock.after(this.fate.down, () => this.page.run(() => this.#closed(1006, "")));
  }

  #arrive() {
    const { fate } = this;
    if (this.#over || this.page.cutOff) return;
    this.#socket = {
      send: (text) => this.#pour(text),
      close: (code, reason) => {
        this.served = false;
        if (!fate.deaf && !fate.hold) this.down(() => this.#closed(code, reason));
      },
      heard() {},
      left() {},
    };
    const socket = this.#socket;
    this.serve(() => socket.left());
    if (!fate.deaf) this.down(() => this.#hearer.open());
    this.page.world.server.connect(this.request, socket);
  }

  /** @param {string} text */
  #pour(text) {
    const { cut, deaf, hold } = this.fate;
    if (!this.served || deaf || hold) return;
    const length = Buffer.byteLength(text);
    if (this.allow(length) === length) return this.down(() => this.#hearer.message(text));
    this.leave(0);
    if (cut?.how === "silence") this.silence();
    else this.#breakLater(0);
  }

  #breakLater(extra = 0) {
    this.down(() => this.#closed(1006, ""), extra);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #closed(code, reason) {
    if (this.#over) return;
    this.#over = true;
    this.close();
    this.#hearer.close(code, reason);
  }
}
