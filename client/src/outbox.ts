import { type Environment, dictionary, drawId, retry } from "./environment.js";
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
  /** Sends drafts of one channel; at last calls back with an answer for each, with one for all, or with nothing. */
  say(channel: string, drafts: Draft[], done: (answers?: Frame[]) => void): Cancel;
  /** Who one is at the moment, as far as that is known. */
  whom(): string | undefined;
  /** What is unsent has changed. */
  changed(): void;
  taken(receipt: Receipt): void;
  lost(draft: Draft, why: Frame): void;
}

/** What is to be sent, and what becomes of it. */
export interface Outbox {
  /** What is not acknowledged yet, in order. */
  drafts(): Draft[];
  /** Puts a message behind the others. */
  add(channel: string, body: Json, refers?: Reference, id?: string): Draft;
  /** Takes one back. */
  withdraw(draft: Draft): void;
  /** It is in the store, as a reader saw. */
  seen(receipt: Receipt): void;
  /** Tries what nothing is in the way of; `anew`: what got no answer, too. */
  flush(anew?: boolean): void;
  /** Tries no more. */
  stop(): void;
}

/**
 * Sends the messages of each channel in their order, each once. A channel that has to wait does not hold up others.
 *
 * One request is under way at a time. A draft keeps its id however often it is sent, so that the server stores it once.
 */
export function outbox(environment: Environment, drafts: Draft[], post: Post): Outbox {
  let busy: Cancel | undefined;
  /** What ends the pause of a channel, and that of all, which has no name. */
  const pauses = dictionary<Cancel>();
  let failures = 0;
  /** So many from the front go one by one, to find the one that the server refused. */
  let alone = 0;

  /** An id is one of its channel's. */
  function take({ channel, id }: { channel: string; id: string }): Draft | undefined {
    const draft = drafts.filter((one) => one.channel === channel && one.id === id)[0];
    if (draft) {
      drafts = drafts.filter((one) => one !== draft);
      post.changed();
    }
    return draft;
  }

  function seen({ channel, offset, id }: Receipt): void {
    if (take({ channel, id })) post.taken({ channel, offset, id });
  }

  function fail(draft: Draft, why: Frame): void {
    if (take(draft)) post.lost(draft, why);
  }

  const isDue = ({ channel }: { channel: string }): boolean => !pauses[channel];

  function flush(anew?: boolean): void {
    if (anew) resume("");
    if (busy || pauses[""] || !drafts.some(isDue)) return;
    let over = false;
    busy = () => {
      over = true;
    };
    post.ready((refusal) => {
      if (over) return;
      if (!refusal) return next();
      busy = undefined;
      if (PASSING.test(refusal.error!)) wait("", refusal);
      else drafts.forEach((draft) => fail(draft, refusal));
    });
  }

  function wait(channel: string, { retry_after }: Frame): void {
    pauses[channel] = retry(environment, failures++, retry_after, () => {
      resume(channel);
      flush();
    });
  }

  function resume(channel: string): void {
    if (pauses[channel]) pauses[channel]();
    delete pauses[channel];
  }

  /** Nobody knows whether it is stored, and whether the server would know it again. */
  function isLost({ tried, by }: Draft): boolean {
    return !!tried && (environment.Date.now() - tried > MEMORY || by !== post.whom());
  }

  function next(): void {
    let size = 0;
    const group: Draft[] = [];
    const most = alone ? 1 : MOST_DRAFTS;
    drafts.filter(isDue).every((draft) => {
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
    // What was tried before was so by the same: else it were lost.
    const fresh = group.filter(({ tried }) => !tried);
    fresh.forEach((draft) => {
      draft.tried = environment.Date.now();
      draft.by = post.whom();
    });
    post.changed();
    let over = false;
    const cancel = post.say(group[0]!.channel, group, (answers) => {
      over = true;
      // One among them is refused: it fails alone.
      const split = answers && answers.length < group.length && !PASSING.test(answers[0]!.error!);
      if (split) alone = group.length;
      let passing: Frame | undefined = answers ? undefined : {};
      group.forEach((draft, index) => {
        const told = answers && (answers[index] || answers[0]!);
        const code = told && told.error;
        if (code && UNTRIED.test(code) && fresh.indexOf(draft) >= 0) draft.tried = undefined;
        if (!told) return;
        if (!code) seen(told as Receipt);
        else if (PASSING.test(code)) passing = told;
        else if (!split) fail(draft, told);
      });
      busy = undefined;
      // What gets no answer would get none for another channel.
      if (passing) wait(answers ? group[0]!.channel : "", passing);
      else failures = 0;
      flush();
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
      Object.keys(pauses).forEach(resume);
      if (busy) busy();
    },
  };
}
