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
  crypto?: { getRandomValues(numbers: Uint32Array): Uint32Array };
  document?: Document;
  location?: { href: string };
  navigator?: { locks?: LockManager };
  localStorage?: Keeper;
  addEventListener?(type: string, listener: (event: Event) => void): void;
  removeEventListener?(type: string, listener: (event: Event) => void): void;
}

/** Calls once, after so many milliseconds; the answer is a function that prevents it. */
export function later(environment: Environment, ms: number, run: () => void): () => void {
  const timer = environment.setTimeout(run, ms);
  return () => environment.clearTimeout(timer as never);
}

/** An id that makes sending again harmless: 128 random bits, or as many as there are without a source of such. */
export const drawId = ({ crypto, Math }: Environment): string =>
  [].join.call(crypto ? crypto.getRandomValues(new Uint32Array(4)) : [Math.random(), Math.random()]);

/**
 * Calls again after so many failures in a row, and as many seconds as the server says: full jitter, so that clients that
 * failed together do not come back together.
 *
 * Shorter pauses weigh on a server that is barely back; longer ones than 30 s are felt when it is.
 */
export function retry(environment: Environment, failures: number, seconds = 0, run: () => void): () => void {
  return later(environment, seconds * 1000 + environment.Math.random() * Math.min(30_000, 500 * 2 ** failures), run);
}

function copy(from: object, into: object): object {
  for (const name in from) (into as Record<string, unknown>)[name] = (from as Record<string, unknown>)[name];
  return into;
}

/** The members of both, those of the second where both have one: what `{...a, ...b}` would be in an old browser. */
export const extend = <A extends object, B extends object>(a: A, b: B): A & B => copy(b, copy(a, {})) as A & B;

/** Members by names that others choose, `constructor` and `__proto__` among them. */
export const dictionary = <T>(from: Record<string, T> = {}): Record<string, T> =>
  copy(from, Object.create(null) as object) as Record<string, T>;
