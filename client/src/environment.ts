import type { Keeper } from "./types.js";

/**
 * What the library uses of its surroundings: a window, a worker, Node's `globalThis`, or what a test makes up. What is
 * missing is done without; nothing else is looked for anywhere.
 */
export interface Environment {
  setTimeout(run: () => void, ms: number): unknown;
  clearTimeout(timer: never): void;
  Date: { now(): number };
  Math: { random(): number };
  fetch?: typeof fetch;
  AbortController?: typeof AbortController;
  TextDecoder?: typeof TextDecoder;
  XMLHttpRequest?: new () => XMLHttpRequest;
  WebSocket?: new (url: string, protocols?: string) => WebSocket;
  EventSource?: new (url: string) => EventSource;
  BroadcastChannel?: new (name: string) => BroadcastChannel;
  crypto?: { getRandomValues(bytes: Uint8Array): Uint8Array };
  document?: Document;
  location?: { href: string };
  navigator?: { onLine?: boolean; locks?: LockManager };
  localStorage?: Keeper;
  addEventListener?(type: string, listener: (event: Event) => void): void;
  removeEventListener?(type: string, listener: (event: Event) => void): void;
}

/** Calls once, after so many milliseconds; the answer is a function that prevents it. */
export function later(environment: Environment, ms: number, run: () => void): () => void {
  const timer = environment.setTimeout(run, ms);
  return () => environment.clearTimeout(timer as never);
}

/** An id that makes sending again harmless: 128 random bits, of the best source there is. */
export function drawId({ crypto, Math }: Environment): string {
  const bytes = crypto && crypto.getRandomValues(new Uint8Array(16));
  let id = "";
  for (let index = 0; index < 16; index++) {
    const byte = bytes ? bytes[index]! : (Math.random() * 256) | 0;
    id += (byte + 256).toString(16).slice(1);
  }
  return id;
}

/**
 * How long to wait after so many failures in a row, in milliseconds: full jitter, so that clients that failed
 * together do not come back together.
 *
 * Shorter pauses weigh on a server that is barely back; longer ones than 30 s are felt when it is.
 */
export function pause(environment: Environment, failures: number, retryAfter = 0): number {
  return retryAfter * 1000 + environment.Math.random() * Math.min(30_000, 500 * 2 ** failures);
}

/** Members by names that others choose, `constructor` and `__proto__` among them. */
export function dictionary<T>(from: Record<string, T> = {}): Record<string, T> {
  const made = Object.create(null) as Record<string, T>;
  Object.keys(from).forEach((name) => {
    made[name] = from[name]!;
  });
  return made;
}
