import type { Environment } from "./environment.js";

/**
 * A way of reaching the server. One word names it everywhere: here, in the server's routes and in its
 * components.
 */
export type Transport =
  | "websocket"
  | "sse"
  | "xhr-streaming"
  | "long-polling"
  | "short-polling"
  | "htmlfile"
  | "jsonp-polling";

/** Any JSON. On its way through the server it keeps its text. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** What a message is to an earlier one of its channel. */
export interface Reference {
  kind: "edit" | "delete" | "reaction" | "reply";
  /** Which one. */
  offset: number;
}

/** A stored message. */
export interface Message {
  channel: string;
  /** Its number in the channel: 1, 2, 3 … without holes. */
  offset: number;
  /** What its sender drew for it. */
  id: string;
  /** Who sent it, as the server knows them: nobody can take another's. */
  sender: string;
  /** What the sender wants to be called; anybody may take any name. */
  name: string;
  /** When the server stored it, in milliseconds since 1970. */
  sent_at: number;
  refers?: Reference;
  body: Json;
}

/** That a message is stored, and where. */
export interface Receipt {
  channel: string;
  offset: number;
  id: string;
}

/** Messages that are gone for good, and will not be delivered. */
export interface Gap {
  channel: string;
  /** The offset of the last message before the gap; 0 where that is not known, as where the server began the channel anew. */
  after: number;
  /** The offset before the next message. Lower than the last one that came: the server began the channel anew. */
  resumed: number;
}

/** A channel that may not be read (any longer); it is not followed. */
export interface Denial {
  channel: string;
  /** The server's code, mostly `forbidden`. */
  error: string;
  detail: string;
}

/** Who one is, where one is a guest: the server's answer to a name. */
export interface Session {
  token: string;
  sender: string;
  name: string;
  /** In milliseconds since 1970. */
  expires_at: number;
}

/**
 * How the connection stands.
 *
 * `connecting`: not yet, or not at the moment. `live`: messages arrive by the first of the transports that were
 * asked for. `fallback`: they arrive, by another. `offline`: nothing got through; it is tried again. `closed`: for
 * good, by `close()` (no reason) or because the server will not have us (its code).
 */
export type State =
  | { kind: "connecting" }
  | { kind: "live"; transport: Transport }
  | { kind: "fallback"; transport: Transport }
  | { kind: "offline" }
  | { kind: "closed"; reason: string };

/** A message that is not acknowledged yet. */
export interface Unsent {
  channel: string;
  id: string;
  refers?: Reference | undefined;
  body: Json;
}

/** What can be listened to, and what is told. */
export interface Events {
  /** A message of a channel that is followed: in the order of its channel, once. */
  message: Message;
  state: State;
  gap: Gap;
  denied: Denial;
  /** What is told of the people in a channel that is followed, where `presence` was asked for. */
  presence: Presence;
  /** Who one is, as a guest; again when the credential had to be renewed, then as somebody else. */
  session: Session;
  /** One of ours is stored: what `publish` is fulfilled with; also for those kept over a reload. */
  stored: Receipt;
  /** One of ours is given up: what `publish` is rejected with; also for those kept over a reload. */
  failed: Unsent & { error: Failure };
}

/**
 * Why something was not done. `code` is the server's (`forbidden`, `too-large`, …) or one of the library's:
 * `closed` (the connection was closed before), `aborted` (by a signal), `unknown` (see `publish`).
 */
export interface Failure extends Error {
  code: string;
  /** When the server wants to be asked again, in seconds. */
  retry_after?: number;
}

/** Somebody, as others see them. */
export interface Person {
  sender: string;
  name: string;
}

/**
 * Who is in a channel, who is typing, and who has read how far. One that has `here` is all there is, and takes the place
 * of what was told before; of another, what is absent is as it was.
 */
export interface Presence {
  channel: string;
  /** How many people are here. */
  count?: number;
  /** Who they are, at most 1,000. */
  here?: Person[];
  /** Who came, or goes by another name. */
  joined?: Person[];
  left?: Person[];
  /** All who are typing at the moment. */
  typing?: Person[];
  /** How far people have come, by their `sender`: the last offset that they have read, and that reached them. */
  marks?: { [sender: string]: { read: number; delivered: number } };
}

/** A page of history, oldest first. */
export interface History {
  messages: Message[];
  /** What to pass for the page before; absent where there is none. */
  before?: number | undefined;
}

/** A place that keeps text over a reload, such as `sessionStorage`. */
export interface Keeper {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

/** What `connect` takes beside the address. */
export interface Options {
  /** The channels to follow from the beginning, at most 64 together with those of `subscribe`. */
  channels?: string[];
  /** How many of the newest messages of a channel come first: 0 (the default) to 1,000. */
  history?: number;
  /**
   * The credential, or what gets one: it is called at first, and again when the server no longer takes the last
   * one.
   */
  token?: string | (() => string | PromiseLike<string>);
  /** A name to be called by, where the server lets guests in and there is no token. */
  guest?: string;
  /** Whether to be seen by others in the channels that are followed, and to be told of them. Default: false. */
  presence?: boolean;
  /** What may be used, best first. Default: all, from `websocket` on. */
  transports?: Transport[];
  /**
   * Keeps unsent messages, the place in each channel and the guest's credential over a reload. Take
   * `sessionStorage`; in `localStorage` two tabs would be one sender. Whoever connects to the same address finds it: name
   * the `account`, or clear it when somebody signs out.
   */
  storage?: Keeper;
  /** Whose what is kept is, where there is a `token`: for each other name nothing is kept yet. */
  account?: string;
  /** Whether tabs of one origin with the same token share a connection, where the browser can. Default: true. */
  share?: boolean;
  /** All that the library uses of its surroundings. Default: `globalThis`. */
  environment?: Environment;
}

/** A connection, over whichever transport gets through. */
export interface Connection extends AsyncIterable<Message> {
  readonly state: State;
  /** Who one is, once the server said so to a guest. */
  readonly session: Session | undefined;
  /** The channels that are followed. */
  readonly channels: string[];
  /** What waits to be acknowledged, in the order of sending; also what was kept over a reload. */
  readonly unsent: Unsent[];
  /**
   * Calls `listener` for each event; the answer is a function that ends it. A listener that throws does not keep
   * others from hearing.
   */
  on<E extends keyof Events>(event: E, listener: (told: Events[E]) => void): () => void;
  /**
   * Follows one more channel, from now on or with up to `history` of its newest messages first, 0 to 1,000. Fulfilled
   * when its messages arrive; rejected where it may not be read. Where tabs share a connection, it may begin without
   * its history: `history()` has it in any case. The signal takes back this call, and leaves the channel to others that
   * wait for it or followed it before.
   */
  subscribe(channel: string, options?: { history?: number; signal?: AbortSignal }): Promise<void>;
  /** Follows a channel no longer. */
  unsubscribe(channel: string): void;
  /**
   * Sends a message, once, whatever happens on the way: it waits while the network is away, and goes out in the
   * order of the calls for its channel. Fulfilled when it is stored.
   *
   * Rejected with the server's code where it is refused; with `unknown` when a try got no answer for longer than the
   * server remembers ids, or as another guest: it may be stored, and is not sent again.
   */
  publish(
    channel: string,
    body: Json,
    options?: { id?: string; refers?: Reference; signal?: AbortSignal },
  ): Promise<Receipt>;
  /** A page of older messages: those before an offset, or the newest. `limit`: 1 to 1,000, default 50. */
  history(channel: string, options?: { before?: number; limit?: number; signal?: AbortSignal }): Promise<History>;
  /**
   * Does a command of the server's, such as `{ typing: { channel } }`: an object of one member. Fulfilled with the answer;
   * rejected with the server's code, or with `unavailable` where no answer came: then it may be done or not. It is not
   * asked again, but on a slow network the server may get it twice.
   */
  perform(command: { [verb: string]: Json }, options?: { signal?: AbortSignal }): Promise<{ [name: string]: Json }>;
  /** Changes what may be used, best first; moves to another transport where it must. */
  use(transports: Transport[]): void;
  /** Ends it for good. What is unsent is rejected with `closed`, and kept where there is a `storage`. */
  close(): void;
}
