import type { Environment } from "./environment.js";
import type { Frame } from "./frame.js";
import type { Transport } from "./types.js";

/** What tabs say to each other. */
export interface Word {
  /** Which tab this is of; none: the one that keeps the connection. */
  tab?: string;
  /** What it follows; what arrives. */
  channels?: string[];
  /** By which transport, where something does. */
  live?: Transport | undefined;
  /** What arrived. */
  frame?: Frame;
}

/** What becomes of a tab. */
export interface Part {
  /** It keeps the connection. */
  lead(): void;
  /** Another one does. */
  follow(): void;
  heard(word: Word): void;
  /** There is no sharing here, as for pages of no origin. */
  fail(): void;
}

/** A place among the tabs that share a connection. */
export interface Share {
  say(word: Word): void;
  leave(): void;
}

/**
 * Meets the tabs of the same name. One of them at a time leads: the one that holds the lock (W3C Web Locks API), which
 * the browser gives to the next when that tab is gone, however it went.
 */
export function share({ BroadcastChannel, navigator }: Environment, name: string, part: Part): Share {
  const locks = navigator!.locks!;
  let bus: BroadcastChannel | undefined;
  let over = false;
  let release = (): void => {};
  const lead = (): Promise<void> | undefined => {
    if (over) return undefined;
    part.lead();
    return new Promise((resolve) => {
      release = resolve;
    });
  };
  locks
    .request(name, { ifAvailable: true }, (lock) => {
      if (over) return undefined;
      // Here, since Firefox throws where it lets the page keep nothing.
      bus = new BroadcastChannel!(name);
      bus.onmessage = ({ data }) => part.heard(data as Word);
      if (lock) return lead();
      part.follow();
      return locks.request(name, lead);
    })
    .catch(part.fail);
  return {
    say: (word) => bus!.postMessage(word),
    leave() {
      over = true;
      if (bus) bus.close();
      release();
    },
  };
}
