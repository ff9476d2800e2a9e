import { chooser } from "./chooser.js";
import type { Credential } from "./credential.js";
import { type Environment, dictionary, later, pause } from "./environment.js";
import { DENIAL, PASSING, failure } from "./failure.js";
import type { Frame } from "./frame.js";
import { type Places, receive } from "./inbox.js";
import { type Cancel, type Done, PATIENCE, type Query, extend } from "./request.js";
import { type Share, type Word, share } from "./share.js";
import { LIMIT, type Link } from "./transports.js";
import type { Denial, Failure, Gap, Message, Presence, State, Transport } from "./types.js";

/** What the server follows at once for one reader. */
export const MOST_CHANNELS = 64;

/** How long the tab that keeps the connection may take to say so, and how long it may be silent, in milliseconds. */
const WELCOME = 1000;
const SILENCE = 40_000;

/** What a transport was opened with. */
interface Opened extends Link {
  channels: string[];
  generation: number;
  token: string | undefined;
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
  environment: Environment;
  base: string;
  who: Credential;
  /** By which transports, best first. */
  transports: Transport[];
  /** The one by which the server was reached before. */
  last: Transport | undefined;
  /** Whether tabs may share. */
  shared: boolean;
  /** What is to be followed from the beginning, and how many of its messages come first. */
  channels: string[];
  history: number;
  /** To be seen, and told who else is: empty; undefined: not. */
  presence: string | undefined;
  /** Asks once, with the credential. */
  poll(query: Query, done: Done): Cancel;
  become(state: State): void;
  /** Messages can be read, and sent. */
  live(transport: Transport): void;
  message(message: Message): void;
  gap(gap: Gap): void;
  denied(denial: Denial): void;
  people(told: Presence): void;
  /** How far it has come is not what it was. */
  moved(): void;
  /** The server will not have us, for good. */
  shut(why: Frame): void;
}

/** Reads channels, over whichever transport gets through, or by another tab. */
export interface Reader {
  channels(): string[];
  standing(): Standing;
  follow(channel: string, history: number, settle: (error?: Failure) => void): void;
  unfollow(channel: string, why: Frame): boolean;
  /** Asks on the connection, where it goes both ways. */
  speak(): ((question: object, done: Done) => Cancel) | undefined;
  use(transports: Transport[]): void;
  /** Looks after what may have died unnoticed; `sure`: the network is another. */
  check(sure?: boolean): void;
  /** The credential was renewed. */
  renewed(): void;
  /** Begins to read, or goes on. */
  begin(): void;
  /** Ends what is open, until `begin`. */
  rest(): void;
  /** Ends it all. */
  end(why: Frame): void;
}

export function reader(surroundings: Surroundings, standing: Standing): Reader {
  const { environment, base, who, channels, history, poll, become, live, message, gap, denied, moved, shut } = surroundings;
  let { transports, last, shared } = surroundings;
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
  const foreign: Record<string, string[]> = {};
  const tab = environment.Math.random().toString(36).slice(2);
  /** Whether another tab keeps the connection. */
  let following = false;
  /** Whether that one follows all that this one does. */
  let covered = false;
  /** Whether this one is past a gap to which that one may not have come: its place would tell it again. */
  let ahead = false;
  /** What it brought while this one fetches what it missed. */
  let waiting: Frame[] | undefined;
  let again = false;
  let calmSilence = calmRefresh;

  /** All that is to be read here. */
  function names(): string[] {
    const all = Object.keys(wishes);
    Object.keys(foreign).forEach((other) =>
      foreign[other]!.forEach((channel) => all.indexOf(channel) < 0 && all.push(channel)),
    );
    return all;
  }

  const historyOf = (channel: string): number => (wishes[channel] || { history: 0 }).history;
  const isNew = (channel: string): boolean => !(channel in places);

  /** What to ask for. A query has one `history` for all channels that its cursor does not name: others come next. */
  function query(): Query & { channel: string[] } {
    const all = names();
    const fresh = all.filter(isNew);
    const history = fresh.length ? historyOf(fresh[0]!) : undefined;
    return {
      channel: all.filter((channel) => !isNew(channel) || historyOf(channel) === history),
      after: cursor,
      history,
      presence: surroundings.presence,
    };
  }

  const choice = chooser(
    environment,
    {
      fits: (opened) => (opened as Opened).generation === generation && (opened as Opened).token === who.token(),
      open(open, heartbeat, listener) {
        const asks = query();
        const token = who.token();
        const opened = open({ environment, base, query: extend(asks, { heartbeat, token }) }, listener);
        return extend(opened, { channels: asks.channel, generation, token });
      },
      adopted(transport, opened) {
        link = opened as Opened;
        failures = 0;
        last = transport;
        who.taken();
        arrive(link.channels);
        become(stateBy(transport));
        live(transport);
        change();
      },
      frame: hear,
      down() {
        lost();
        become({ kind: "connecting" });
      },
      refused: (why, opened) => refused(why, opened as Opened),
      exhausted: () => away(),
    },
    transports,
    last,
  );

  const stateBy = (transport: Transport): State =>
    ({ kind: transport === transports[0] ? "live" : "fallback", transport });

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
    if (party && !following && !frame.ref && Object.keys(foreign).length) party.say({ frame });
    ([] as Presence[]).concat(frame.state || []).forEach((one) => wishes[one.channel] && surroundings.people(one));
    const tell = (told: Gap): void => {
      generation++;
      if (wishes[told.channel]) gap(told);
    };
    const mine = { gap: tell, message: (one: Message) => wishes[one.channel] && message(one) };
    let astray = receive(places, frame, mine);
    if (astray && missing === astray.channel + astray.offset) {
      // To fetch it did not help: the server does not have what is missing.
      const { channel, offset } = astray;
      tell({ channel, after: places[channel]!, resumed: offset - 1 });
      places[channel] = offset - 1;
      astray = receive(places, frame, mine);
    }
    if (!astray) {
      if (frame.cursor) {
        cursor = frame.cursor;
        moved();
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
    const forget = (): void => {
      calm();
      delete asked[ref];
    };
    asked[ref] = (answer) => {
      forget();
      done(answer);
    };
    link!.send!(JSON.stringify(extend({ ref }, question)));
    return forget;
  }

  /** The connection is gone: nothing is heard of what was asked. */
  function lost(): void {
    link = undefined;
    Object.keys(asked).forEach((ref) => asked[+ref]!());
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
      else if (!following) choice.race();
    });
  }

  /** Nothing gets through: later. */
  function away(why: Frame = {}): void {
    lost();
    become({ kind: "offline" });
    wait(why.retry_after);
  }

  function wait(seconds?: number): void {
    hurry();
    calmWait = later(environment, pause(environment, failures++, seconds), begin);
  }

  /** Ends a pause; tells whether there was one. */
  function hurry(): boolean {
    const pausing = !!calmWait;
    if (calmWait) calmWait();
    calmWait = undefined;
    return pausing;
  }

  function rest(): void {
    running = false;
    hurry();
    calmRefresh();
    choice.stop();
    lost();
    part();
  }

  function refused(why: Frame, { token }: Opened): void {
    const code = why.end || why.error!;
    lost();
    if (code === "unauthorized" && who.renew(token)) {
      // The others share what the old one was good for.
      part();
      begin();
    } else if (code === "unauthorized" && who.token()) shut({ error: code, detail: why.detail! });
    else if (code === "invalid-request" && cursor) {
      // It is no place of this server's: what there is now is not what there was.
      cursor = undefined;
      const were = places;
      places = dictionary();
      generation++;
      Object.keys(were).forEach((channel) => gap({ channel, after: Math.max(0, were[channel]!), resumed: 0 }));
      wait();
    } else if (DENIAL.test(code)) inspect();
    else away(why);
  }

  /** Finds which of the channels may not be read, where the server says that one of them may not. */
  function inspect(): void {
    const fresh = names().filter(isNew);
    const suspects = fresh.length ? fresh : names();
    let left = suspects.length;
    let found = false;
    suspects.forEach((channel) => {
      poll({ channel, limit: 1 }, (answer) => {
        if (answer && DENIAL.test(answer.error!)) {
          found = true;
          deny(channel, answer);
        }
        if (!--left && running) {
          if (found) begin();
          else wait();
        }
      });
    });
  }

  function deny(channel: string, { error, detail }: Frame): void {
    const told = { channel, error: error!, detail: detail! };
    Object.keys(foreign).forEach((other) => {
      foreign[other] = foreign[other]!.filter((one) => one !== channel);
    });
    if (unfollow(channel, told)) denied(told);
  }

  // ---------------------------------------------------------------- what is followed

  /** Keeps the places in these channels only: whoever comes back to another begins anew. */
  function prune(channels: string[]): void {
    Object.keys(places).forEach((channel) => channels.indexOf(channel) < 0 && delete places[channel]);
    moved();
  }

  function unfollow(channel: string, why: Frame): boolean {
    const wish = wishes[channel];
    if (!wish) return false;
    delete wishes[channel];
    wish.settle.forEach((settle) => settle(failure(why)));
    change();
    return true;
  }

  /** Tells a connection that hears it what is to be followed; what does not hear is opened anew. */
  function change(): void {
    const all = names();
    const opened = link;
    const followed = opened ? opened.channels : [];
    const more = all.filter((channel) => followed.indexOf(channel) < 0);
    const less = followed.filter((channel) => all.indexOf(channel) < 0);
    prune(all);
    if (!all.length) {
      cursor = undefined;
      rest();
      become({ kind: "connecting" });
    } else if (!running) begin();
    else if (following) party!.say({ tab, channels: all });
    else if (!opened || !(more.length + less.length)) return;
    else if (opened.send) {
      opened.channels = all;
      less.forEach((channel) => say({ unsubscribe: { channel } }, () => {}));
      more.forEach((channel) => {
        say({ subscribe: { channel, history: historyOf(channel) } }, (answer) => {
          if (!answer) return;
          const code = answer.error;
          if (!code) return arrive([channel]);
          opened.channels = opened.channels.filter((one) => one !== channel);
          if (code === "unauthorized" && who.renew(opened.token)) who.ensure(choice.refresh);
          else if (PASSING.test(code)) {
            calmRefresh();
            calmRefresh = later(environment, pause(environment, failures++, answer.retry_after), change);
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
    covered = false;
    patience(WELCOME);
    // Who is not seen has no part in the connection of who is.
    party = share(environment, `witter:${base}:${who.token()}:${surroundings.presence}`, {
      lead() {
        following = false;
        calmSilence();
        announce();
        begin();
      },
      follow() {
        following = true;
        party!.say({ tab, channels: names() });
      },
      fail: alone,
      heard({ tab: other, channels: theirs, live: transport, frame }: Word) {
        if (!following) {
          if (other) {
            foreign[other] = theirs!;
            if (names().length > MOST_CHANNELS) delete foreign[other];
            change();
            if (link) announce();
          }
        } else if (frame) overhear(frame);
        else if (theirs && !other) {
          covered = !!transport && names().every((channel) => theirs.indexOf(channel) >= 0);
          if (covered) {
            last = transport;
            fetch();
          } else if (!transport) {
            // It may be another one, that knows nothing of this one.
            become({ kind: "connecting" });
            party!.say({ tab, channels: names() });
          }
        }
      },
    });
  }

  /** Tells the other tabs what arrives here. */
  function announce(): void {
    if (party && !following) {
      party.say({ live: link ? last : undefined, channels: names().filter((channel) => !isNew(channel)) });
    }
  }

  /** The tab that keeps the connection is heard: it lives. */
  function patience(ms: number): void {
    calmSilence();
    calmSilence = later(environment, ms, alone);
  }

  function overhear(frame: Frame): void {
    // What comes before this one knows where to go on from, it gets by itself.
    if (!covered) return;
    patience(SILENCE);
    if (waiting) waiting.push(frame);
    // That messages are gone is told by the server to each that misses them.
    else if (frame.gap || (frame.gaps && frame.gaps.length)) fetch(true);
    else hear(ahead || frame.open ? extend(frame, { cursor: undefined }) : frame);
  }

  /** Gets what the other tab had before this one listened to it. */
  function fetch(past?: boolean): void {
    patience(SILENCE);
    again = !!waiting;
    if (again) return;
    waiting = [];
    const asks = query();
    poll(asks, (answer) => {
      const meanwhile = waiting!;
      waiting = undefined;
      if (!following) return;
      if (!answer || answer.error) return alone();
      arrive(asks.channel);
      hear(answer);
      ahead = !past && (ahead || answer.gaps!.length > 0);
      meanwhile.forEach(overhear);
      if (again || answer.envelopes!.length >= LIMIT || names().some(isNew)) fetch();
      else {
        become(stateBy(last!));
        live(last!);
      }
    });
  }

  /** Keeps a connection of its own. */
  function alone(): void {
    shared = false;
    if (party) {
      part();
      begin();
    }
  }

  function part(): void {
    calmSilence();
    if (party) {
      if (following) party.say({ tab, channels: [] });
      party.leave();
      party = undefined;
    }
    following = false;
  }

  channels.forEach((channel) => {
    wishes[channel] = { history, settle: [] };
  });
  Object.keys(places).forEach((channel) => wishes[channel] || delete places[channel]);

  return {
    channels: () => Object.keys(wishes),
    standing: () => ({ cursor, places }),
    // Over a connection one is who one was when it was opened.
    speak: () => (link && link.send && link.token === who.token() ? say : undefined),
    begin,
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
