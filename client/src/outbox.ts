import { type Environment, drawId, later, pause } from "./environment.js";
import { failure } from "./failure.js";
import type { Frame } from "./frame.js";
import type { Cancel } from "./request.js";
import type { Failure, Json, Receipt } from "./types.js";

/** The most drafts in one request, and about how many characters of them; the server's limits are 100 and 1 MiB. */
const MOST_DRAFTS = 100;
const MOST_CHARACTERS = 200_000;

/**
 * The server remembers ids for ten minutes. A draft of which nothing was heard for longer than this, in milliseconds,
 * may be stored already, and would be a second time.
 */
const MEMORY = 540_000;

/** What may be otherwise when it is tried again. */
export const PASSING = /^(unavailable|rate-limited|timeout|internal)$/;

/** A message to be sent. */
export interface Draft {
  channel: string;
  id: string;
  body: Json;
  /** When it was first tried without an answer that says whether it is stored. */
  tried?: number | undefined;
  /** As whom. */
  by?: string | undefined;
}

/** What an outbox needs of others. */
export interface Post {
  /** Sends drafts of one channel; at last calls back with one answer for each, with one for all, or with nothing. */
  send(channel: string, drafts: Draft[], done: (answer?: Frame | Frame[]) => void): Cancel;
  /** Who one is at the moment, as far as that is known. */
  sender(): string | undefined;
  /** What is unsent has changed. */
  changed(): void;
  stored(receipt: Receipt): void;
  failed(draft: Draft, error: Failure): void;
}

/** What is to be sent, and what becomes of it. */
export interface Outbox {
  /** What is not acknowledged yet, in order. */
  drafts(): Draft[];
  /** Puts a message behind the others. */
  add(channel: string, body: Json, id?: string): Draft;
  /** Takes one back. */
  withdraw(id: string): void;
  /** It is in the store, as a reader saw. */
  seen(receipt: Receipt): void;
  /** Tries at once. */
  flush(): void;
  /** Tries no more. */
  stop(): void;
}

/**
 * Sends messages in their order, each once.
 *
 * One request is under way at a time. A draft keeps its id however often it is sent, so that the server stores it once.
 */
export function outbox(environment: Environment, drafts: Draft[], post: Post): Outbox {
  let busy: Cancel | undefined;
  let calm: Cancel = () => {};
  let failures = 0;
  /** So many from the front go one by one, to find the one that the server refused. */
  let alone = 0;

  function take(id: string): Draft | undefined {
    const draft = drafts.filter((one) => one.id === id)[0];
    if (draft) {
      drafts = drafts.filter((one) => one !== draft);
      post.changed();
    }
    return draft;
  }

  function seen({ channel, offset, id }: Receipt): void {
    if (take(id)) post.stored({ channel, offset, id });
  }

  function fail(draft: Draft, why: Frame): void {
    if (take(draft.id)) post.failed(draft, failure(why));
  }

  function flush(): void {
    calm();
    const now = environment.Date.now();
    while (!busy && drafts.length) {
      const first = drafts[0]!;
      if (first.tried && (now - first.tried > MEMORY || first.by !== post.sender())) {
        fail(first, { error: "unknown", detail: "it may be stored, and is not sent again" });
        continue;
      }
      let size = 0;
      const group: Draft[] = [];
      const most = alone ? 1 : MOST_DRAFTS;
      drafts.some((draft) => {
        size += JSON.stringify(draft.body).length;
        const more = draft.channel === first.channel && group.length < most && (!group.length || size < MOST_CHARACTERS);
        if (more) group.push(draft);
        return !more;
      });
      if (alone) alone--;
      send(first.channel, group, now);
    }
  }

  function send(channel: string, group: Draft[], now: number): void {
    const before = group.map(({ tried }) => tried);
    const by = post.sender();
    group.forEach((draft) => {
      draft.tried = draft.tried || now;
      draft.by = by;
    });
    post.changed();
    let over = false;
    const cancel = post.send(channel, group, (answer) => {
      over = true;
      busy = undefined;
      const answers = answer instanceof Array ? answer : group.map(() => answer);
      const whole = answer instanceof Array ? undefined : answer && answer.error;
      if (whole && group.length > 1 && !PASSING.test(whole)) {
        alone = group.length;
        return flush();
      }
      let wait: Frame | undefined;
      group.forEach((draft, index) => {
        const told = answers[index];
        if (told && told.error === "rate-limited") draft.tried = before[index];
        if (!told) wait = wait || (answer ? undefined : {});
        else if (told.error && PASSING.test(told.error)) wait = told;
        else if (told.error) fail(draft, told);
        else seen(told as Receipt);
      });
      if (wait) calm = later(environment, pause(environment, failures++, wait.retry_after), flush);
      else {
        failures = 0;
        flush();
      }
    });
    if (!over) busy = cancel;
  }

  return {
    drafts: () => drafts,
    withdraw: take,
    seen,
    flush,
    add(channel, body, id = drawId(environment)) {
      const draft = { channel, id, body };
      drafts.push(draft);
      post.changed();
      return draft;
    },
    stop() {
      calm();
      if (busy) busy();
    },
  };
}
