// A browser of 2011, as far as a script sees it: ECMAScript 5.1 and nothing later, requests by XMLHttpRequest, and a
// clock that goes when it is told to.

import vm from "node:vm";

/** What ECMA-262, edition 5.1, defines in section 15 and annex B for each of these objects; none of it has more. */
const ES5 = {
  this: `NaN Infinity undefined eval parseInt parseFloat isNaN isFinite decodeURI decodeURIComponent encodeURI
    encodeURIComponent escape unescape Object Function Array String Boolean Number Date RegExp Error EvalError
    RangeError ReferenceError SyntaxError TypeError URIError Math JSON`,
  Object: `prototype getPrototypeOf getOwnPropertyDescriptor getOwnPropertyNames create defineProperty defineProperties
    seal freeze preventExtensions isSealed isFrozen isExtensible keys`,
  "Object.prototype": `constructor toString toLocaleString valueOf hasOwnProperty isPrototypeOf propertyIsEnumerable`,
  "Function.prototype": `constructor toString apply call bind`,
  Array: `prototype isArray`,
  "Array.prototype": `constructor toString toLocaleString concat join pop push reverse shift slice sort splice unshift
    indexOf lastIndexOf every some forEach map filter reduce reduceRight`,
  String: `prototype fromCharCode`,
  "String.prototype": `constructor toString valueOf charAt charCodeAt concat indexOf lastIndexOf localeCompare match
    replace search slice split substr substring toLowerCase toLocaleLowerCase toUpperCase toLocaleUpperCase trim`,
  Number: `prototype MAX_VALUE MIN_VALUE NaN NEGATIVE_INFINITY POSITIVE_INFINITY`,
  Math: `E LN10 LN2 LOG2E LOG10E PI SQRT1_2 SQRT2 abs acos asin atan atan2 ceil cos exp floor log max min pow random
    round sin sqrt tan`,
  Date: `prototype parse UTC now`,
  "RegExp.prototype": `constructor exec test toString source global ignoreCase multiline lastIndex`,
};

export class OldBrowser {
  window;
  #context = vm.createContext({});
  #now = Date.UTC(2011, 0, 1);
  #timers = new Map();
  #drawn = 0;

  /**
   * A page at an address. `serve` is given the method, the address and the body of each request, and gives the text of
   * the answer; where it gives nothing, none comes.
   */
  constructor(address, serve) {
    const at = this;
    // The globals last: until then they name what is cleared.
    for (const [object, names] of Object.entries(ES5).reverse()) {
      const kept = new Set(names.split(/\s+/));
      const owner = this.run(object);
      for (const name of Object.getOwnPropertyNames(owner)) {
        if (!kept.has(name)) Reflect.deleteProperty(owner, name);
      }
    }
    const window = this.run("this");
    this.window = window;
    window.Date.now = () => this.#now;
    Object.assign(window, {
      window,
      location: { href: address },
      navigator: { onLine: true },
      addEventListener() {},
      removeEventListener() {},
      setTimeout: (run, ms) => this.#later(run, ms),
      clearTimeout: (timer) => void this.#timers.delete(timer),
      XMLHttpRequest: function XMLHttpRequest() {
        this.open = (...line) => {
          this.line = line;
        };
        this.send = (body) => {
          const text = serve(...this.line, body);
          if (text === undefined) return;
          this.timer = at.#later(() => {
            Object.assign(this, { readyState: 4, status: 200, responseText: text });
            this.onreadystatechange();
          }, 0);
        };
        this.abort = () => void at.#timers.delete(this.timer);
      },
    });
  }

  /** Runs a script, and gives its last value. */
  run(script) {
    // An error that goes on to the terminal does not bring the line of the script along: minified, that is all of it.
    return vm.runInContext(script, this.#context, { displayErrors: false });
  }

  /** Lets time go by. */
  elapse(ms) {
    const end = this.#now + ms;
    for (;;) {
      const due = [...this.#timers.values()].filter(({ at }) => at <= end);
      if (due.length === 0) break;
      const next = due.reduce((first, other) => (other.at < first.at ? other : first));
      this.#timers.delete(next.timer);
      this.#now = Math.max(this.#now, next.at);
      next.run();
    }
    this.#now = end;
  }

  #later(run, ms) {
    const timer = ++this.#drawn;
    this.#timers.set(timer, { timer, at: this.#now + ms, run });
    return timer;
  }
}
