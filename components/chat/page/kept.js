// What lasts over a reload, as JSON in one of the browser's stores; nothing where the browser keeps nothing.

export class Kept {
  /** The store itself; undefined where there is none. */
  storage;

  /** `open` gives the store, or throws where the browser is told to have none. */
  constructor(open) {
    try {
      this.storage = open();
    } catch {
      this.storage = undefined;
    }
  }

  read(key, otherwise) {
    try {
      return JSON.parse(this.storage.getItem(`chat:${key}`)) ?? otherwise;
    } catch {
      return otherwise;
    }
  }

  /** Keeps a value; undefined is kept by keeping nothing. */
  write(key, value) {
    try {
      if (value === undefined) this.storage.removeItem(`chat:${key}`);
      else this.storage.setItem(`chat:${key}`, JSON.stringify(value));
    } catch {
      // It is full, or there is none: what is on the page lasts as long as the page.
    }
  }

  forget() {
    this.storage?.clear();
  }
}

/** For the window: who one is in it, and where. */
export const here = new Kept(() => sessionStorage);

/** For the browser: how one likes the page. */
export const always = new Kept(() => localStorage);
