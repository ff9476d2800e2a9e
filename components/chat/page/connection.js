// How the connection stands: a sign in the header, and a dialog in which ways of reaching the server can be blocked.

import { $, element } from "./dom.js";
import { here } from "./kept.js";
import { onLanguage, say, secondOf } from "./words.js";

/** What the library can use, best first. */
const TRANSPORTS = ["websocket", "sse", "xhr-streaming", "long-polling", "short-polling", "htmlfile", "jsonp-polling"];

/** So many turns of the connection are told. */
const MOST_TOLD = 8;

/** Those that may be used; undefined where all may. */
export const chosenTransports = () => here.read("transports");

export class ConnectionView {
  #state = { kind: "connecting" };
  #turns = [];
  #boxes = new Map();

  /** `use` takes the transports that may be used from now on. */
  constructor(use) {
    for (const transport of TRANSPORTS) this.#boxes.set(transport, element("input", { type: "checkbox" }));
    $("ways").addEventListener("change", () => {
      const allowed = this.#allowed();
      here.write("transports", allowed.length === TRANSPORTS.length ? undefined : allowed);
      this.#bound();
      use(allowed);
    });
    onLanguage(() => {
      this.#list();
      this.#tell();
    });
  }

  /** Begins anew, with what was chosen before. */
  start() {
    const chosen = chosenTransports() ?? TRANSPORTS;
    for (const [transport, box] of this.#boxes) box.checked = chosen.includes(transport);
    this.#bound();
    this.#turns = [];
  }

  /** Shows how it stands. */
  show(state) {
    this.#state = state;
    this.#turns = [{ at: Date.now(), state }, ...this.#turns].slice(0, MOST_TOLD);
    this.#tell();
  }

  #allowed() {
    return TRANSPORTS.filter((transport) => this.#boxes.get(transport).checked);
  }

  /** One has to remain. */
  #bound() {
    const allowed = this.#allowed();
    for (const [transport, box] of this.#boxes) box.disabled = allowed.length === 1 && allowed[0] === transport;
  }

  #list() {
    const items = Array.from(this.#boxes, ([transport, box]) => {
      const label = element("label", {}, box, element("b", {}, transport), element("small", {}, say(`way-${transport}`)));
      return element("li", {}, label);
    });
    $("ways").replaceChildren(...items);
  }

  #tell() {
    const { kind, transport } = this.#state;
    const chip = $("chip");
    chip.className = kind;
    const label = transport ? [transport] : [say(kind)];
    if (kind === "fallback") label.unshift(element("span", { className: "kind" }, say("fallback")));
    chip.replaceChildren(element("span", {}, ...label));
    chip.setAttribute("aria-label", say("connectionIs", { state: chip.textContent }));
    const told = say(`told${kind.charAt(0).toUpperCase()}${kind.slice(1)}`, { transport });
    for (const id of ["status", "told"]) if ($(id).textContent !== told) $(id).textContent = told;
    for (const [one, box] of this.#boxes) {
      const mark = box.parentElement.querySelector("em");
      if (one !== transport) mark?.remove();
      else if (!mark) box.parentElement.append(element("em", {}, say("inUse")));
    }
    const turns = this.#turns.map(({ at, state }) =>
      element("li", {}, element("time", { dateTime: new Date(at).toISOString() }, secondOf(at)), describe(state)),
    );
    $("taken").replaceChildren(...turns);
  }
}

const describe = ({ kind, transport }) => (kind === "fallback" ? say("fallback") : "") + (transport ?? say(kind));
