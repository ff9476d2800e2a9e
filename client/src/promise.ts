type Reaction = () => void;

/**
 * As much of a promise as the library and those who call it need (ECMAScript 2024, section 27.2), for browsers that have
 * none: settled once, its reactions called later and in order, thenables followed.
 */
class Thenable {
  private settled: "resolve" | "reject" | undefined;
  private value: unknown;
  private reactions: Reaction[] = [];

  constructor(begin: (resolve: (value?: unknown) => void, reject: (reason: unknown) => void) => void) {
    let called = false;
    const reject = (reason: unknown): void => this.settle("reject", reason);
    const once =
      (then: (value: unknown) => void) =>
      (value?: unknown): void => {
        if (!called) {
          called = true;
          then(value);
        }
      };
    const resolve = (value: unknown): void => {
      const { then } = (value || {}) as { then?: unknown };
      if (typeof then === "function") then.call(value, resolve, reject);
      else this.settle("resolve", value);
    };
    try {
      begin(once(resolve), once(reject));
    } catch (reason) {
      once(reject)(reason);
    }
  }

  static resolve(value?: unknown): Thenable {
    return new Thenable((resolve) => resolve(value));
  }

  static reject(reason: unknown): Thenable {
    return new Thenable((_, reject) => reject(reason));
  }

  then(fulfilled?: ((value: unknown) => unknown) | null, rejected?: ((reason: unknown) => unknown) | null): Thenable {
    return new Thenable((resolve, reject) => {
      this.react(() => {
        const done = this.settled === "resolve";
        const handle = done ? fulfilled : rejected;
        try {
          if (handle) resolve(handle(this.value));
          else (done ? resolve : reject)(this.value);
        } catch (reason) {
          reject(reason);
        }
      });
    });
  }

  catch(rejected: (reason: unknown) => unknown): Thenable {
    return this.then(null, rejected);
  }

  private react(reaction: Reaction): void {
    if (this.settled) window.setTimeout(reaction, 0);
    else this.reactions.push(reaction);
  }

  private settle(how: "resolve" | "reject", value: unknown): void {
    this.settled = how;
    this.value = value;
    this.reactions.forEach((reaction) => window.setTimeout(reaction, 0));
  }
}

// The bundler puts this in the place of the name in the classic script.
const Own: unknown = (window as { Promise?: unknown }).Promise || Thenable;
export { Own as Promise };
