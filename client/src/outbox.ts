import { type Environment, drawId, later, pause } from "./environment.js";
import { PASSING } from "./failure.js";
import type { Frame } from "./frame.js";
import type { Cancel } from "./request.js";
import type { Json, Receipt, Reference } from "./types.js";

/** The most drafts in one request, and about how many characters of them; the server's limits are 100 and 1 MiB. */
const MOST_DRAFTS = 100;
const MOST_CHARACTERS = 200_000;

/**
 * The server remembers ids for ten minutes. A draft of which nothing was heard for longer than this, in milliseconds,
 * may be stored already, and would be a second time.
 */
const MEMORY = 540_000;

/** The credential was another, which the server did not take. */
export const RENEWED = "renewed";

/** Codes that say that nothing was stored. */
const UNTRIED = /^(rate-limited|renewed)$/;

/** A message to be sent. */
export interface Draft {
  channel: string;
  id: string;
  body: Json;
  refers?: Reference | undefined;
  /** When it was first tried without an answer that says whether it is stored. */
  tried?: number | undefined;
  /** As whom. */
  by?: string | undefined;
}

/** What an outbox needs of others. */
export interface Post {
  /** Calls back when there is a credential, or why there is none. */
  ready(done: (refusal?: Frame) => void): void;
  /** Sends drafts of one channel; at last calls back with one answer for each, with one for all, or with nothing. */
  send(channel: string, drafts: Draft[], done: (answer?: Frame | Frame[]) => void): Cancel;
  /** Who one is at the moment, as far as that is known. */
  sender(): string | undefined;
  /** What is unsent has changed. */
  changed(): void;
  stored(receipt: Receipt): void;
  failed(draft: Draft, why: Frame): void;
}

/** What is to be sent, and what becomes of it. */
export interface Outbox {
  /** What is not acknowledged yet, in order. */
  drafts(): Draft[];
  /** Puts a message behind the others. */
  add(channel: string, body: Json, refers?: Reference, id?: string): Draft;
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
    if (take(draft.id)) post.failed(draft, why);
  }

  function flush(): void {
    calm();
    if (busy || !drafts.length) return;
    let over = false;
    busy = () => {
      over = true;
    };
    post.ready((refusal) => {
      if (over) return;
      if (!refusal) return next();
      busy = undefined;
      if (PASSING.test(refusal.error!)) wait(refusal);
      else drafts.slice().forEach((draft) => fail(draft, refusal));
    });
  }

  function wait({ retry_after }: Frame): void {
    calm = later(environment, pause(environment, failures++, retry_after), flush);
  }

  /** Nobody knows whether it is stored, and whether the server would know it again. */
  function isLost({ tried, by }: Draft): boolean {
    return !!tried && (environment.Date.now() - tried > MEMORY || by !== post.sender());
  }

  function next(): void {
    let size = 0;
    const group: Draft[] = [];
    const most = alone ? 1 : MOST_DRAFTS;
    drafts.slice().every((draft) => {
      if (isLost(draft)) {
        if (!group.length) fail(draft, { error: "unknown" });
        return !group.length;
      }
      size += JSON.stringify(draft.body).length;
      const fits =
        !group.length || (draft.channel === group[0]!.channel && group.length < most && size < MOST_CHARACTERS);
      if (fits) group.push(draft);
      return fits;
    });
    if (alone) alone--;
    busy = undefined;
    if (group.length) send(group);
    else flush();
  }

  function send(group: Draft[]): void {
    const before = group.map(({ tried, by }) => ({ tried, by }));
    group.forEach((draft) => {
      draft.tried = draft.tried || environment.Date.now();
      draft.by = post.sender();
    });
    post.changed();
    let over = false;
    const cancel = post.send(group[0]!.channel, group, (answer) => {
      over = true;
      const whole = answer instanceof Array ? undefined : answer && answer.error;
      // One among them is refused: it fails alone.
      const split = whole && group.length > 1 && !PASSING.test(whole);
      if (split) alone = group.length;
      let passing: Frame | undefined;
      group.forEach((draft, index) => {
        const told = answer instanceof Array ? answer[index] : answer;
        const code = told && told.error;
        if (code && UNTRIED.test(code)) {
          draft.tried = before[index]!.tried;
          draft.by = before[index]!.by;
        }
        if (!told) passing = passing || (answer ? undefined : {});
        else if (!code) seen(told as Receipt);
        else if (PASSING.test(code)) passing = told;
        else if (!split) fail(draft, told);
      });
      busy = undefined;
      if (passing) wait(passing);
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
    add(channel, body, refers, id = drawId(environment)) {
      const draft = { channel, id, body, refers };
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
