// Two objects of Internet Explorer that no living browser has. Each stand-in is a script for a page, and
// allows what the object allowed and nothing more: a page that works with it asks for no more than that.

/**
 * `ActiveXObject("htmlfile")`: a document that no window shows. It lives in a frame, since only there can a
 * document load anything, but in one that the page cannot find: within a closed shadow tree.
 */
export function activeXObject() {
  let shadow;

  class HtmlFile {
    #frame = document.createElement("iframe");

    constructor() {
      if (!shadow) {
        shadow = document.body.attachShadow({ mode: "closed" });
        shadow.append(document.createElement("slot"));
      }
      this.#frame.hidden = true;
      shadow.append(this.#frame);
      Object.freeze(this);
    }

    get #document() {
      return this.#frame.contentDocument;
    }

    open() {
      this.#document.open();
    }

    write(html) {
      this.#document.write(html);
    }

    close() {
      this.#document.close();
    }

    get parentWindow() {
      return this.#document.defaultView;
    }

    get body() {
      return this.#document.body;
    }

    getElementById(id) {
      return this.#document.getElementById(id);
    }

    createElement(tag) {
      return this.#document.createElement(tag);
    }

    appendChild(child) {
      return this.#document.appendChild(child);
    }
  }

  window.ActiveXObject = function ActiveXObject(name) {
    if (name !== "htmlfile") throw new Error("Automation server can't create object");
    return new HtmlFile();
  };
}

/**
 * `XDomainRequest`: GET or POST of the page's own scheme, text in and text out. No header, no cookie, no
 * `Content-Type`, no status; an answer shows once it has 2 KiB, or is complete.
 */
export function xDomainRequest() {
  const FIRST = 2048;
  const METHODS = ["GET", "POST"];

  window.XDomainRequest = class XDomainRequest {
    onload = null;
    onerror = null;
    onprogress = null;
    ontimeout = null;
    timeout = 0;
    #request = new XMLHttpRequest();
    #text = "";
    #type = "";

    constructor() {
      const request = this.#request;
      request.onprogress = () => {
        if (!this.#readable() || request.responseText.length < FIRST) return;
        this.#show();
        this.onprogress?.();
      };
      request.onload = () => {
        if (!this.#readable()) return this.onerror?.();
        this.#show();
        this.onload?.();
      };
      request.onerror = () => this.onerror?.();
      request.ontimeout = () => this.ontimeout?.();
      // No expandos: whoever sets `withCredentials` learns that it is not there.
      Object.preventExtensions(this);
    }

    get responseText() {
      return this.#text;
    }

    get contentType() {
      return this.#type;
    }

    open(method, url) {
      if (!METHODS.includes(method)) throw new Error("Invalid argument.");
      if (new URL(url, location).protocol !== location.protocol) throw new Error("Access is denied.");
      this.#request.open(method, url);
    }

    send(text = "") {
      if (typeof text !== "string") throw new Error("Invalid argument.");
      this.#request.timeout = this.timeout;
      // Bytes, unlike a string, are sent without a Content-Type.
      this.#request.send(new TextEncoder().encode(text));
    }

    abort() {
      this.#request.abort();
    }

    #readable() {
      return this.#request.status === 200 && (this.#crosses() || this.#allowed());
    }

    #crosses() {
      return new URL(this.#request.responseURL).origin !== location.origin;
    }

    /** Across origins the browser has seen to that; within one, leave was needed all the same. */
    #allowed() {
      return ["*", location.origin].includes(this.#request.getResponseHeader("access-control-allow-origin"));
    }

    #show() {
      this.#text = this.#request.responseText;
      this.#type = this.#request.getResponseHeader("content-type") ?? "";
    }
  };
}
