import { chooser } from "./chooser.js";
import type { Credential } from "./credential.js";
import { type Environment, dictionary, drawId, extend, later, retry } from "./environment.js";
import { ABORTED, DENIAL, PASSING, failure } from "./failure.js";
import type { Frame } from "./frame.js";
import { type Places, receive } from "./inbox.js";
import { type Cancel, type Done, PATIENCE, type Query } from "./request.js";
import { type Share, type Word, share } from "./share.js";
import { LIMIT, type Link, TRANSPORTS } from "./transports.js";
import type { Events, Failure, Gap, Message, Options, Presence, State, Transport } from "./types.js";

/** What the server follows at once for one reader. */
export const MOST_CHANNELS = 64;

/** How long the tab that keeps the connection may take to say so, and how long it may be silent, in milliseconds. */
const WELCOME = 1000;
const SILENCE = 40_000;

/** When a tab that went its own way looks for the others again, in milliseconds. */
const AGAIN = 60_000;

/** What a transport was opened with. */
interface Opened extends Link {
  follows: string[];
  generation: number;
  bearer: string | undefined;
}

/** A channel that is to be followed. */
interface Wish {
  history: number;
  /** What waits for its messages to arrive. */
  settle: ((error?: Failure) => void)[];
}

/** How far a reader has come: all that it takes to go on. */
export interface Standing {
  cursor?: string | undefined;
  places?: Places;
}

/** What a reader needs of others, and tells them. */
export interface Surroundings {
  around: Environment;
  base: string;
  who: Credential;
  /** The transport by which the server was reached before. */
  last: Transport | undefined;
  /** Whether tabs may share. */
  shared: unknown;
  /** Asks once, with the credential. */
  poll(query: Query, done: Done): Cancel;
  become(state: State): void;
  /** Messages can be read, and sent. */
  ready(transport: Transport): void;
  heard(message: Message): void;
  emit<E extends keyof Events>(event: E, told: Events[E]): void;
  /** How far it has come is not what it was. */
  moved(): void;
  /** The server will not have us, for good. */
  shut(why: Frame): void;
}

/** Reads channels, over whichever transport gets through, or by another tab. */
export interface Reader {
  follows(): string[];
  standing(): Standing;
  /** The answer takes it back, as long as it is not settled. */
  follow(channel: string, history: number, settle: (error?: Failure) => void): Cancel;
  unfollow(channel: string, why: Frame): boolean;
  /** Asks on the connection, where it goes both ways. */
  speak(): ((question: object, done: Done) => Cancel) | false | undefined;
  use(transports: Transport[]): void;
  /** Looks after what may have died unnoticed; `sure`: the network is another. */
  check(sure?: unknown): void;
  /** The credential was renewed. */
  renewed(): void;
  /** Begins to read, where that is not begun. */
  begin(): void;
  /** Ends what is open, until `begin`. */
  rest(): void;
  /** Ends it all. */
  end(why: Frame): void;
}

export function reader(surroundings: Surroundings, options: Options, standing: Standing): Reader {
  const { around: environment, who, poll, become, emit, shut } = surroundings;
  /** To be seen, and told who else is: empty; undefined: not. */
  const presence = options.presence ? "" : undefined;
  let { last, shared } = surroundings;
  let { transports = Object.keys(TRANSPORTS) as Transport[] } = options;
  let { cursor } = standing;
  let places = dictionary(standing.places);
  const wishes = dictionary<Wish>();
  /** How often a gap was told, or a channel begun: what was opened before would tell it again, or begin elsewhere. */
  let generation = 0;
  /** What carries the messages. */
  let link: Opened | undefined;
  /** Whether something does, or is being looked for, or waited for. */
  let running = false;
  let failures = 0;
  /** Where a message was missing: one that the server does not have is not asked for again and again. */
  let missing: string | undefined;
  let calmWait: Cancel | undefined;
  let calmRefresh: Cancel = () => {};
  const asked: Record<number, Done> = {};
  let questions = 0;

  // What concerns other tabs.
  let party: Share | undefined;
  /** What the others follow by this one. */
  let foreign: Record<string, string[]> = {};
  const tab = drawId(environment);
  /** Whether this tab keeps the connection for others, or another one does: at first it is neither. */
  let leading = false;
  let following = false;
  /** What arrives at that one. */
  let carried: string[] = [];
  /** Where this one is past a gap to which that one may not have come: its place would tell it again. */
  let ahead: string[] = [];
  /** What it brought while this one fetches what it missed. */
  let waiting: Frame[] | undefined;
  let again: unknown;
  let calmSilence = calmRefresh;

  /** All that is to be read here. */
  function names(): string[] {
    const all = Object.keys(wishes);
    Object.keys(foreign).forEach((other) =>
      foreign[other]!.forEach((channel) => all.indexOf(channel) < 0 && all.push(channel)),
    );
    return all;
  }

  const historyOf = (channel: string): number => (wishes[channel] ? wishes[channel].history : 0);
  const isNew = (channel: string): boolean => !(channel in places);

  /** What to ask for. A query has one `history` for all channels that its cursor does not name: others come next. */
  function query(all = names()): Query & { channel: string[] } {
    const fresh = all.filter(isNew);
    const history = fresh.length ? historyOf(fresh[0]!) : undefined;
    return {
      channel: all.filter((channel) => !isNew(channel) || historyOf(channel) === history),
      after: cursor,
      history,
      presence,
    };
  }

  const choice = chooser(
    environment,
    {
      fits: (opened) => (opened as Opened).generation === generation && (opened as Opened).bearer === who.bearer(),
      begin(open, heartbeat, listener) {
        const asks = query();
        const bearer = who.bearer();
        const opened = open({ around: environment, base: surroundings.base, query: extend(asks, { heartbeat, token: bearer }) }, listener);
        return extend(opened, { follows: asks.channel, generation, bearer });
      },
      adopted(transport, opened) {
        deafen();
        link = opened as Opened;
        last = transport;
        who.taken();
        arrive(link.follows);
        goLive();
        change();
      },
      heard: hear,
      down() {
        lost();
        become({ kind: "connecting" });
      },
      refused,
      exhausted: away,
    },
    transports,
    last,
  );

  function goLive(): void {
    failures = 0;
    become({ kind: last === transports[0] ? "live" : "fallback", transport: last! });
    surroundings.ready(last!);
  }

  /** The messages of these arrive from now on. */
  function arrive(channels: string[]): void {
    names().forEach((channel) => {
      if (channels.indexOf(channel) < 0) return;
      if (isNew(channel)) {
        places[channel] = -1;
        generation++;
      }
      if (wishes[channel]) wishes[channel]!.settle.splice(0).forEach((settle) => settle());
    });
    announce();
  }

  function hear(frame: Frame): void {
    const answered = frame.ref && asked[frame.ref];
    if (answered) answered(frame);
    if (frame.denied) deny(frame.denied.channel, frame.denied);
    if (leading && !frame.ref) party!.say({ frame });
    ([] as Presence[]).concat(frame.state || []).forEach((one) => wishes[one.channel] && emit("presence", one));
    const tell = (told: Gap): void => {
      generation++;
      if (wishes[told.channel]) emit("gap", told);
    };
    const take = (): Message | undefined =>
      receive(
        places,
        frame,
        (message) => {
          ahead = ahead.filter((channel) => channel !== message.channel);
          if (wishes[message.channel]) surroundings.heard(message);
        },
        tell,
      );
    let astray = take();
    if (astray && missing === astray.channel + astray.offset) {
      // To fetch it did not help: the server does not have what is missing.
      const { channel, offset } = astray;
      tell({ channel, after: places[channel]!, resumed: offset - 1 });
      places[channel] = offset - 1;
      astray = take();
    }
    if (!astray) {
      if (frame.cursor) {
        cursor = frame.cursor;
        surroundings.moved();
      }
      return;
    }
    missing = astray.channel + astray.offset;
    if (following) fetch();
    else choice.drop();
  }

  // ---------------------------------------------------------------- asking on the connection

  function say(question: object, done: Done): Cancel {
    const ref = ++questions;
    const calm = later(environment, PATIENCE, () => {
      asked[ref]!();
      choice.drop();
    });
    asked[ref] = (answer) => {
      calm();
      delete asked[ref];
      done(answer);
    };
    link!.say!(JSON.stringify(extend({ ref }, question)));
    return () => {
      done = () => {};
    };
  }

  /** Nothing is heard any more of what was asked. */
  function deafen(): void {
    Object.keys(asked).forEach((ref) => asked[+ref]!());
  }

  /** The connection is gone. */
  function lost(): void {
    link = undefined;
    deafen();
    announce();
  }

  // ---------------------------------------------------------------- beginning, waiting, and what is in the way

  function begin(): void {
    hurry();
    running = names().length > 0;
    if (!running) return;
    who.ensure((refusal) => {
      if (!running || link) return;
      if (refusal) (PASSING.test(refusal.error!) ? away : shut)(refusal);
      else if (shared && !party) meet();
      else if (!party || leading) choice.race();
    });
  }

  /** Nothing gets through: later. */
  function away(why: Frame = {}): void {
    lost();
    become({ kind: "offline" });
    hurry();
    calmWait = retry(environment, failures++, why.retry_after, begin);
  }

  /** Ends a pause; tells whether there was one. */
  function hurry(): unknown {
    const calm = calmWait;
    calmWait = undefined;
    if (calm) calm();
    return calm;
  }

  function rest(): void {
    running = false;
    hurry();
    calmRefresh();
    choice.stop();
    lost();
    part();
  }

  function refused(why: Frame, opened: Link): void {
    const error = why.end || why.error!;
    const told = { error, detail: why.detail! };
    lost();
    if (who.renew((opened as Opened).bearer, why)) {
      // The others share what the old one was good for.
      part();
      begin();
    } else if (error === "unauthorized" && who.bearer()) shut(told);
    else if (cursor && /^cursor/.test(told.detail)) {
      // It is no place of this server's: what there is now is not what there was.
      cursor = undefined;
      const were = places;
      places = dictionary();
      generation++;
      Object.keys(were).forEach((channel) => wishes[channel] && emit("gap", { channel, after: Math.max(0, were[channel]!), resumed: 0 }));
      begin();
    } else if (DENIAL.test(error)) inspect(told);
    else away(why);
  }

  /** Finds which of the channels may not be read, where the server says that one of them may not. */
  function inspect(why: Frame): void {
    const fresh = names().filter(isNew);
    const suspects = fresh.length ? fresh : names();
    let left = suspects.length;
    // What is wrong in none of them is wrong in the whole, and stays so.
    let then = why.error === "invalid-request" ? () => shut(why) : away;
    suspects.forEach((channel) => {
      poll({ channel, limit: 1 }, (answer) => {
        if (answer && DENIAL.test(answer.error!)) {
          then = begin;
          deny(channel, answer);
        } else if (then !== begin && (!answer || answer.error)) then = away;
        if (!--left && running) then();
      });
    });
  }

  function deny(channel: string, { error, detail }: Frame): void {
    const told = { channel, error: error!, detail: detail! };
    if (leading) party!.say({ frame: { denied: told } });
    Object.keys(foreign).forEach((other) => {
      foreign[other] = foreign[other]!.filter((one) => one !== channel);
    });
    if (unfollow(channel, told)) emit("denied", told);
  }

  // ---------------------------------------------------------------- what is followed

  function unfollow(channel: string, why: Frame): boolean {
    const wish = wishes[channel];
    if (!wish) return false;
    delete wishes[channel];
    wish.settle.splice(0).forEach((settle) => settle(failure(why)));
    change();
    return true;
  }

  /** Tells a connection that hears it what is to be followed; what does not hear is opened anew. */
  function change(): void {
    const all = names();
    const opened = link;
    const followed = opened ? opened.follows : [];
    const more = all.filter((channel) => followed.indexOf(channel) < 0);
    const less = followed.filter((channel) => all.indexOf(channel) < 0);
    // Whoever comes back to another one begins anew.
    Object.keys(places).forEach((channel) => all.indexOf(channel) < 0 && delete places[channel]);
    surroundings.moved();
    if (!all[0]) {
      cursor = undefined;
      rest();
      return become({ kind: "connecting" });
    }
    if (!running) return begin();
    if (following) claim();
    if (!opened || (!more[0] && !less[0])) return;
    if (opened.say) {
      opened.follows = all;
      less.forEach((channel) => say({ unsubscribe: { channel } }, () => {}));
      more.forEach((channel) => {
        say({ subscribe: { channel, history: historyOf(channel) } }, (answer) => {
          if (!answer) return;
          const code = answer.error;
          if (!code) return arrive([channel]);
          opened.follows = opened.follows.filter((one) => one !== channel);
          if (who.renew(opened.bearer, answer)) who.ensure(choice.refresh);
          else if (PASSING.test(code)) {
            calmRefresh();
            calmRefresh = retry(environment, failures++, answer.retry_after, change);
          } else deny(channel, answer);
        });
      });
    } else {
      calmRefresh();
      calmRefresh = later(environment, 0, choice.refresh);
    }
  }

  // ---------------------------------------------------------------- other tabs

  function meet(): void {
    carried = [];
    patience(WELCOME);
    // Who is not seen has no part in the connection of who is.
    party = share(environment, `witter:${surroundings.base}:${who.bearer()}:${presence}`, {
      lead() {
        leading = true;
        following = false;
        calmSilence();
        // Whoever follows says so.
        party!.say({ channels: [] });
        begin();
      },
      follow() {
        following = true;
        claim();
      },
      fail: alone,
      heard({ tab: other, channels: theirs, live: transport, frame }: Word) {
        if (leading) {
          if (other) {
            foreign[other] = theirs!;
            if (names().length > MOST_CHANNELS) delete foreign[other];
            change();
            if (link) announce();
          }
        } else if (frame) overhear(frame);
        else if (!other) {
          carried = transport ? theirs! : [];
          if (isCovered()) {
            last = transport;
            fetch();
          } else if (!transport) {
            // It may be another one, that knows nothing of this one.
            if (!link) become({ kind: "connecting" });
            claim();
          }
        }
      },
    });
  }

  /** Tells the other tabs what this one follows. */
  function claim(all = names()): void {
    party!.say({ tab, channels: all });
  }

  /** Tells the other tabs what arrives here. */
  function announce(): void {
    if (leading) party!.say({ live: link ? last : undefined, channels: Object.keys(places) });
  }

  /** How long the tab that keeps the connection may be silent from now on. */
  function patience(ms: number, then = alone): void {
    calmSilence();
    calmSilence = later(environment, ms, then);
  }

  const has = (channel: string): boolean => carried.indexOf(channel) >= 0;

  /** Whether all arrives there that this one has begun with. What is new may come there later. */
  function isCovered(): boolean {
    return names().some(has) && names().every((channel) => has(channel) || isNew(channel));
  }

  /** It lives. Where something never arrives there, it is of no use for long. */
  function trust(): void {
    if (names().every(has)) patience(SILENCE);
  }

  function overhear(frame: Frame): void {
    // What comes before this one knows where to go on from, it gets by itself.
    if (!(frame.denied || isCovered())) return;
    trust();
    // Its place may be behind that which the answer brings.
    if (waiting) waiting.push(extend(frame, { cursor: undefined }));
    // That messages are gone is told by the server to each that misses them.
    else if (frame.gap || (frame.gaps && frame.gaps[0])) fetch(frame.gap);
    // Its place is not one's own where it may have passed what is new here: that begins with its history.
    else hear(frame.open || !ahead.every(isNew) || names().filter(isNew)[0] ? extend(frame, { cursor: undefined }) : frame);
  }

  /** Gets what the other tab had before this one listened to it. `past`: what that one told of by itself. */
  function fetch(past?: Gap): void {
    trust();
    again = waiting;
    if (again) return;
    waiting = [];
    const asks = query(names().filter((channel) => !isNew(channel) || has(channel)));
    poll(asks, (answer) => {
      const meanwhile = waiting!;
      const were = ahead;
      waiting = undefined;
      if (!following) return;
      if (!answer || answer.error) return alone();
      arrive(asks.channel);
      hear(answer);
      ahead = were.concat(answer.gaps!.map(({ channel }) => channel)).filter((one) => !past || one !== past.channel);
      meanwhile.forEach(overhear);
      if (again || answer.envelopes!.length >= LIMIT || names().filter(isNew).some(has)) fetch();
      else if (following && names().every(has)) {
        // Its own connection, where it has one, is not needed any more.
        choice.stop();
        lost();
        goLive();
      }
    });
  }

  /** Keeps a connection of its own, for a while. */
  function alone(): void {
    if (party) {
      part();
      shared = false;
      patience(AGAIN, meet);
      if (!calmWait) begin();
    }
  }

  function part(): void {
    calmSilence();
    if (following) claim([]);
    if (party) party.leave();
    party = undefined;
    leading = following = false;
    foreign = {};
    shared = surroundings.shared;
  }

  (options.channels || []).forEach((channel) => {
    wishes[channel] = { history: options.history || 0, settle: [] };
  });
  Object.keys(places).forEach((channel) => wishes[channel] || delete places[channel]);

  return {
    follows: () => Object.keys(wishes),
    standing: () => ({ cursor, places }),
    // Over a connection one is who one was when it was opened.
    speak: () => (link && link.say && link.bearer === who.bearer() && say),
    begin: () => running || begin(),
    rest,
    unfollow,
    renewed: choice.refresh,
    end(why) {
      Object.keys(wishes).forEach((channel) => {
        wishes[channel]!.settle.forEach((settle) => settle(failure(why)));
        delete wishes[channel];
      });
      rest();
    },
    follow(channel, history, settle) {
      const known = wishes[channel];
      const wish = (wishes[channel] = known || { history, settle: [] });
      if (isNew(channel)) {
        wish.settle.push(settle);
        change();
      } else {
        settle();
        // Another tab followed it: who is there was told before.
        if (!known) choice.refresh();
      }
      return () => {
        settle(failure(ABORTED));
        wish.settle = wish.settle.filter((one) => one !== settle);
        if (!known && isNew(channel) && !wish.settle.length) unfollow(channel, ABORTED);
      };
    },
    use(wanted) {
      transports = wanted;
      choice.use(wanted);
    },
    check(sure) {
      if (hurry()) {
        failures = 0;
        begin();
      } else if (sure) choice.refresh();
      else choice.check();
    },
  };
}
