import type { Denial, Gap, Json, Message, Presence, Receipt, Session } from "./types.js";

/** A JSON object of the server's: a frame, a batch, or the answer to a question. */
export interface Frame extends Partial<Session> {
  /** Where the reader stands behind this, in all of its channels. */
  cursor?: string;
  open?: boolean;
  envelope?: Message;
  envelopes?: Message[];
  gap?: Gap;
  gaps?: Gap[];
  denied?: Denial;
  /** Of one channel; of several in an answer. */
  state?: Presence | Presence[];
  /** What to ask with to be told what differs from it. */
  presence?: string;
  heartbeat?: boolean;
  /** `reopen`, or why the stream ended. */
  end?: string;
  error?: string;
  detail?: string;
  /** In seconds. */
  retry_after?: number;
  /** Which of our questions this answers. */
  ref?: number;
  answer?: { [name: string]: Json };
  published?: (Receipt & Frame)[];
  subscribed?: string;
  before?: number;
}

/** The frame that a text is; undefined where it is none, such as a proxy's page. */
export function parse(text: string | undefined): Frame | undefined {
  try {
    const value: unknown = JSON.parse(text!);
    return value instanceof Object ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Why a frame ends what it came on: a code, or `reopen`; undefined where it does not. */
export const ending = (frame: Frame): string | undefined =>
  frame.end || (frame.ref ? undefined : frame.error);
