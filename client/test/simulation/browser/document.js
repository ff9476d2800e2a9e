// @ts-check
import { Exchange } from "../network.js";
import { Listeners } from "./events.js";
import { ORIGIN, requestOf } from "./request.js";

/** An element that loads something once it is part of the document. */
class Element {
  src = "";
  style = {};
  /** @type {(() => void) | null} */
  onload = null;
  /** @type {(() => void) | null} */
  onerror = null;
  /** @type {Parent | undefined} */
  parentNode;

  /** @param {import("../page.js").Page} page */
  constructor(page) {
    this.page = page;
  }

  remove() {
    this.parentNode?.removeChild(this);
  }
  attached() {}
  detached() {}
}

class Parent {
  /** @type {Element[]} */
  children = [];

  /** @param {Element} child */
  appendChild(child) {
    this.children.push(child);
    child.parentNode = this;
    child.attached();
    return child;
  }

  /** @param {Element} child */
  removeChild(child) {
    if (child.parentNode !== this) throw new DOMException("not a child of this", "NotFoundError");
    this.children = this.children.filter((one) => one !== child);
    child.parentNode = undefined;
    child.detached();
    return child;
  }
}

/** A script of another origin: it runs once it is whole, also where its element is gone by then. */
class Script extends Element {
  attached() {
    /** @type {Buffer[]} */
    const pieces = [];
    let status = 0;
    const exchange = new Exchange(this.page, requestOf(this.src), {
      head: (code) => (status = code),
      chunk: (bytes) => pieces.push(bytes),
      end: () => {
        if (status < 200 || status > 299) return this.onerror?.();
        run(Buffer.concat(pieces).toString(), this.page.environment.window);
        // Also where it was no script: that is an error of the window's.
        this.onload?.();
      },
      fail: () => this.onerror?.(),
    });
    exchange.stoppable = false;
  }
}

/**
 * Runs a script as a window does: names are members of the window first.
 *
 * @param {string} text
 * @param {object} window
 */
function run(text, window) {
  try {
    new Function("window", `with (window) { ${text}\n}`)(window);
  } catch (error) {
    // A proxy's page, or half a name: an error of the window's, and of nobody's who asked.
    if (!(error instanceof SyntaxError || error instanceof ReferenceError)) throw error;
  }
}

/** A frame with a document that never ends, of the server's origin. */
class Frame extends Element {
  /** @type {object | null} */
  contentWindow = null;
  /** @type {Exchange | undefined} */
  #exchange;

  attached() {
    const window = (this.contentWindow = {});
    const decoder = new TextDecoder();
    let html = "";
    let is = false;
    this.#exchange = new Exchange(this.page, requestOf(this.src), {
      head: (_status, type) => (is = type.startsWith("text/html")),
      chunk: (bytes) => {
        html += decoder.decode(bytes, { stream: true });
        for (;;) {
          const end = html.indexOf("</script>");
          if (end < 0) return;
          const script = html.slice(html.indexOf("<script>") + "<script>".length, end);
          html = html.slice(end + "</script>".length);
          if (is) this.#run(script, window);
        }
      },
      end: () => this.onload?.(),
      // A browser shows a page of its own for what it could not load, and that has loaded.
      fail: () => this.onload?.(),
    });
  }

  detached() {
    this.contentWindow = null;
    this.#exchange?.abort();
  }

  /**
   * @param {string} script
   * @param {object} source
   */
  #run(script, source) {
    const { page } = this;
    const parent = {
      /**
       * A message comes as a task of its own; by then the frame may be gone.
       *
       * @param {string} data
       * @param {string} origin
       */
      postMessage(data, origin) {
        if (origin !== ORIGIN) return;
        page.world.clock.after(0, () => page.run(() => page.environment.window.dispatch("message", { data, source, origin })));
      },
    };
    new Function("parent", "self", "document", script)(parent, {}, {});
  }
}

/** As much of a document as it takes to load scripts and frames. */
export class Document extends Listeners {
  hidden = false;
  head = new Parent();
  body = new Parent();
  #page;

  /** @param {import("../page.js").Page} page */
  constructor(page) {
    super();
    this.#page = page;
  }

  get visibilityState() {
    return this.hidden ? "hidden" : "visible";
  }

  /** @param {string} tag */
  createElement(tag) {
    return tag === "script" ? new Script(this.#page) : new Frame(this.#page);
  }
}
