import { chooser } from "./chooser.js";
import { AWAY, credential } from "./credential.js";
import { type Environment, later, pause } from "./environment.js";
import { failure } from "./failure.js";
import type { Frame } from "./frame.js";
import { type Places, receive } from "./inbox.js";
import { type Draft, PASSING, outbox } from "./outbox.js";
import { type Cancel, type Done, PATIENCE, type Question, asker, extend } from "./request.js";
import { type Link, TRANSPORTS } from "./transports.js";
import type {
  Connection,
  Events,
  Failure,
  Gap,
  History,
  Json,
  Keeper,
  Message,
  Options,
  Receipt,
  Session,
  State,
  Transport,
} from "./types.js";

/** What the server follows at once for one reader. */
const MOST_CHANNELS = 64;

const CHANNEL = /^(?=.{1,64}$)@?[\w.~-]+$/;

/** How long it is remembered by which transport a server was reached, in milliseconds: networks change. */
const MEMORY = 3_600_000;

/** Behind every message. */
const NEWEST = 9007199254740991;

/** Refusals that concern a channel. */
const DENIAL = /^(unauthorized|forbidden|invalid-request)$/;

/** A channel that is to be followed. */
interface Wish {
  history: number;
  /** What `subscribe` waits for. */
  settle: ((error?: Failure) => void)[];
}

/** What is kept over a reload. */
interface Kept {
  cursor?: string | undefined;
  places?: Places;
  session?: Session | undefined;
  drafts?: Draft[];
}

/** Reads JSON that was kept, by whatever version. The place may be forbidden: then it throws where it is named. */
const recall = <T>(place: () => Keeper | undefined, key: string): Partial<T> => {
  try {
    return JSON.parse(place()!.getItem(key)!) || {};
  } catch {
    return {};
  }
};

/** Keeps JSON. Where the place is full or forbidden, what is known lasts as long as the page. */
const keep = (place: () => Keeper | undefined, key: string, value: unknown): void => {
  try {
    place()!.setItem(key, JSON.stringify(value));
  } catch {
    // As above.
  }
};

/** The address of the routes: absolute, since a WebSocket takes no other, and without a slash behind it. */
const resolve = (url: string, { location }: Environment): string => {
  const href = location ? location.href : "";
  const origin = (/^\w+:\/\/[^/?#]+/.exec(href) || [""])[0];
  const folder = href.replace(/[?#].*/, "").replace(/[^/]*$/, "");
  return (/^\w+:/.test(url) ? url : (url[0] === "/" ? origin : folder) + url).replace(/\/+$/, "");
};

/** Connects, and stays connected. */
export function open(environment: Environment, url: string, options: Options): Connection {
  const base = resolve(url, environment);
  const key = `witter:${base}`;
  const storage = (): Keeper | undefined => options.storage;
  const common = (): Keeper | undefined => environment.localStorage;
  const kept = recall<Kept>(storage, key);
  const remembered = recall<{ transport: Transport; at: number }>(common, `${key}:transport`);

  const listeners: { [E in keyof Events]?: ((told: Events[E]) => void)[] } = {};
  const promises: Record<string, { resolve(receipt: Receipt): void; reject(error: Failure): void }> = {};
  const wishes: Record<string, Wish> = {};
  let places = kept.places || {};
  let cursor = kept.cursor;
  /** How often a gap was told: what was opened before would tell it again. */
  let generation = 0;
  let state: State = { kind: "connecting" };
  let transports = options.transports || (Object.keys(TRANSPORTS) as Transport[]);
  let link: Link | undefined;
  /** Whether a transport is live, or being looked for. */
  let running = false;
  let failures = 0;
  /** Whether the credential was renewed since it was last taken. */
  let renewed = false;
  /** Where a message was missing, so that one which the server does not have is not asked for again and again. */
  let missing: string | undefined;
  let calmWait: Cancel = () => {};
  let calmRefresh = calmWait;
  const asked: Record<number, Done> = {};
  let questions = 0;

  const ask = asker(environment, base);
  const who = credential(environment, options, kept.session, ask, (session) => {
    save();
    emit("session", session);
  });
  const box = outbox(environment, kept.drafts || [], {
    send,
    sender: () => (who.session() || { sender: undefined }).sender,
    changed: save,
    stored(receipt) {
      const promise = promises[receipt.id];
      delete promises[receipt.id];
      if (promise) promise.resolve(receipt);
      emit("stored", receipt);
    },
    failed({ channel, id, body }, error) {
      const promise = promises[id];
      delete promises[id];
      if (promise) promise.reject(error);
      emit("failed", { channel, id, body, error });
    },
  });

  function emit<E extends keyof Events>(event: E, told: Events[E]): void {
    (listeners[event] || []).slice().forEach((listener) => {
      try {
        listener(told);
      } catch (error) {
        // As the browser would: told, and others hear it all the same.
        later(environment, 0, () => {
          throw error;
        });
      }
    });
  }

  function save(): void {
    if (options.storage) keep(storage, key, { cursor, places, session: who.session(), drafts: box.drafts() });
  }

  function become(next: State): void {
    if (JSON.stringify(next) !== JSON.stringify(state) && state.kind !== "closed") {
      state = next;
      emit("state", next);
    }
  }

  // ---------------------------------------------------------------- asking

  /** Asks with the credential, and once more with a new one where the server does not take it. */
  function authorized(question: Question, done: Done, again = true): Cancel {
    let over = false;
    let cancel: Cancel = () => {
      over = true;
    };
    who.ensure((refusal) => {
      if (over || refusal) return over || done(refusal);
      const token = who.token();
      const query = extend(question.query, { token });
      cancel = ask(extend(question, { query }), (answer) => {
        if (again && answer && answer.error === "unauthorized" && who.renew(token)) {
          cancel = authorized(question, done, false);
        } else done(answer);
      });
    });
    return () => cancel();
  }

  /** Asks on the live connection. */
  function say(question: Record<string, unknown>, done: Done): Cancel {
    const ref = ++questions;
    const calm = later(environment, PATIENCE, () => {
      delete asked[ref];
      done();
      choice.drop();
    });
    asked[ref] = (answer) => {
      calm();
      delete asked[ref];
      done(answer);
    };
    link!.send!(JSON.stringify(extend({ ref }, question)));
    return () => {
      calm();
      delete asked[ref];
    };
  }

  function send(channel: string, drafts: Draft[], done: (answer?: Frame | Frame[]) => void): Cancel {
    const ours = drafts.map(({ id, body }) => ({ id, body }));
    if (link && link.send) {
      const token = who.token();
      return say({ publish: { channel, drafts: ours } }, (answer) => {
        const refused = answer && answer.error === "unauthorized" && who.renew(token);
        if (refused) who.ensure(() => choice.refresh());
        done(refused ? undefined : answer && (answer.published || answer));
      });
    }
    const first = ours[0]!;
    const text = { id: first.id, body: JSON.stringify(first.body) };
    return authorized(
      {
        route: "publish",
        query: { channel },
        body: JSON.stringify(ours),
        script: ["jsonp-publish", text],
      },
      (answer) => done(answer && "offset" in answer ? [answer] : answer),
    );
  }

  // ---------------------------------------------------------------- reading

  const choice = chooser(
    environment,
    {
      generation: () => generation,
      open(opener, heartbeat, listener) {
        // A request names one `history` for all channels that its cursor does not: those with another come next.
        const history = Object.keys(wishes)
          .filter((channel) => !(channel in places))
          .map((channel) => wishes[channel]!.history)[0];
        const channels = Object.keys(wishes).filter(
          (channel) => channel in places || wishes[channel]!.history === history,
        );
        const query = { channel: channels, after: cursor, history, heartbeat, token: who.token() };
        const opened = opener({ environment, base, query }, listener);
        opened.channels = channels;
        return opened;
      },
      adopted(transport, opened) {
        link = opened;
        failures = 0;
        renewed = false;
        become(
          transport === transports[0] ? { kind: "live", transport } : { kind: "fallback", transport },
        );
        keep(common, `${key}:transport`, { transport, at: environment.Date.now() });
        opened.channels!.forEach(follow);
        if (Object.keys(wishes).sort().join() !== opened.channels!.sort().join()) change();
        box.flush();
      },
      frame,
      down() {
        lost();
        become({ kind: "connecting" });
      },
      refused,
      exhausted() {
        lost();
        become({ kind: "offline" });
        wait(0);
      },
    },
    transports,
    environment.Date.now() - (remembered.at || 0) < MEMORY ? remembered.transport : undefined,
  );

  /** A channel's messages arrive from now on. */
  function follow(channel: string): void {
    const wish = wishes[channel];
    if (wish) {
      if (!(channel in places)) places[channel] = -1;
      wish.settle.splice(0).forEach((settle) => settle());
    }
  }

  function frame(told: Frame): void {
    const answered = told.ref === undefined ? undefined : asked[told.ref];
    if (answered) answered(told);
    const { denied } = told;
    if (denied) deny(denied.channel, denied);
    const reader = {
      message(message: Message) {
        if (state.kind === "closed") return;
        const session = who.session();
        if (!session || session.sender === message.sender) box.seen(message);
        emit("message", message);
      },
      gap(gap: Gap) {
        generation++;
        emit("gap", gap);
      },
    };
    let astray = receive(places, told, reader);
    if (astray && missing === astray.channel + astray.offset) {
      // Reopening did not bring what is missing: the server does not have it.
      const { channel, offset } = astray;
      reader.gap({ channel, after: places[channel]!, resumed: offset - 1 });
      places[channel] = offset - 1;
      astray = receive(places, told, reader);
    }
    missing = astray && astray.channel + astray.offset;
    if (astray) choice.drop();
    else if (told.cursor && state.kind !== "closed") {
      cursor = told.cursor;
      save();
    }
  }

  /** Nothing is heard of what was asked on a connection that is lost. */
  function lost(): void {
    link = undefined;
    Object.keys(asked).forEach((ref) => asked[+ref]!());
  }

  function begin(): void {
    calmWait();
    calmWait = () => {};
    if (state.kind === "closed" || !Object.keys(wishes).length) {
      running = false;
      return;
    }
    running = true;
    if (state.kind !== "offline") become({ kind: "connecting" });
    who.ensure((refusal) => {
      if (!running) return;
      if (!refusal) choice.race();
      else if (PASSING.test(refusal.error!)) refused(refusal);
      else shut(refusal);
    });
  }

  function wait(seconds: number): void {
    calmWait = later(environment, pause(environment, failures++, seconds), begin);
  }

  function refused(why: Frame): void {
    lost();
    const code = (why.end || why.error)!;
    if (code === "unauthorized" && !renewed && who.renew(who.token())) {
      renewed = true;
      begin();
    } else if (code === "unauthorized" && (options.token || who.session())) shut({ error: code });
    else if (code === "invalid-request" && cursor) {
      // The place is one of another server's: what there is now is not what there was.
      cursor = undefined;
      const were = places;
      places = {};
      generation++;
      Object.keys(were).forEach((channel) => emit("gap", { channel, after: Math.max(0, were[channel]!), resumed: 0 }));
      wait(0);
    } else if (DENIAL.test(code)) inspect();
    else {
      become({ kind: "offline" });
      wait(why.retry_after || 0);
    }
  }

  /** Finds which of the channels may not be read: the server says that one of them may not. */
  function inspect(): void {
    const fresh = Object.keys(wishes).filter((channel) => !(channel in places));
    const suspects = fresh.length ? fresh : Object.keys(wishes);
    let left = suspects.length;
    let denied = 0;
    suspects.forEach((channel) => {
      const query = { channel, limit: 1 };
      authorized({ route: "short-polling", query, script: ["jsonp-polling", { wait: 0 }] }, (answer) => {
        if (answer && answer.error && DENIAL.test(answer.error)) {
          denied++;
          deny(channel, answer);
        }
        if (--left === 0 && running) {
          if (denied) begin();
          else wait(0);
        }
      });
    });
  }

  function deny(channel: string, why: Frame): void {
    const wish = wishes[channel];
    if (wish) {
      delete wishes[channel];
      delete places[channel];
      save();
      wish.settle.forEach((settle) => settle(failure(why)));
      emit("denied", { channel, error: why.error!, detail: why.detail! });
    }
  }

  /** What is to be followed has changed: told to a connection that hears it, else what is live is opened anew. */
  function change(): void {
    const { send: speak, channels = [] } = link || {};
    if (!running) begin();
    else if (!Object.keys(wishes).length) {
      running = false;
      calmWait();
      choice.stop();
      lost();
      become({ kind: "connecting" });
    } else if (speak) {
      Object.keys(wishes).forEach((channel) => {
        if (channels.indexOf(channel) < 0) {
          channels.push(channel);
          say({ subscribe: { channel, history: wishes[channel]!.history } }, (answer) => {
            if (answer && answer.error) deny(channel, answer);
            else if (answer) follow(channel);
          });
        }
      });
      channels.slice().forEach((channel) => {
        if (!wishes[channel]) {
          channels.splice(channels.indexOf(channel), 1);
          say({ unsubscribe: { channel } }, () => {});
        }
      });
    } else {
      calmRefresh();
      calmRefresh = later(environment, 0, choice.refresh);
    }
  }

  function shut(why: Frame): void {
    const listening = heard.splice(0);
    listening.forEach((off) => off());
    running = false;
    calmWait();
    calmRefresh();
    choice.stop();
    lost();
    box.stop();
    become({ kind: "closed", reason: why.error || "" });
    const closed = failure({ error: why.error || "closed", detail: why.detail || "the connection is closed" });
    Object.keys(promises).forEach((id) => {
      promises[id]!.reject(closed);
      delete promises[id];
    });
    Object.keys(wishes).forEach((channel) => wishes[channel]!.settle.splice(0).forEach((settle) => settle(closed)));
  }

  // ---------------------------------------------------------------- the surroundings

  const heard: Cancel[] = [];
  /** Listens to what may tell of sleep, of another network, of being left and come back to. */
  const listen = (
    target: Pick<Environment, "addEventListener" | "removeEventListener"> | undefined,
    type: string,
    listener: (event: Event) => void,
  ): void => {
    if (target && target.addEventListener) {
      target.addEventListener(type, listener);
      heard.push(() => target.removeEventListener!(type, listener));
    }
  };
  /** Does at once what was put off. */
  const hurry = (): void => {
    if (running && !link) {
      calmWait();
      failures = 0;
      begin();
    }
    box.flush();
  };
  const { document } = environment;
  listen(environment, "online", () => {
    choice.refresh();
    hurry();
  });
  listen(document, "visibilitychange", () => {
    if (!document!.hidden) {
      choice.check();
      hurry();
    }
  });
  // A page that is kept for the button "back" has no open connections, and comes back without a word of them.
  listen(environment, "pagehide", () => {
    calmWait();
    choice.stop();
    lost();
  });
  listen(environment, "pageshow", () => running && !link && begin());

  // ---------------------------------------------------------------- the connection

  const refuse = (error: string, detail: string): Promise<never> => Promise.reject(failure({ error, detail }));

  /** Why a call is of no use. */
  function check(channel: string, signal: AbortSignal | undefined): Promise<never> | undefined {
    if (signal && signal.aborted) return Promise.reject(failure(ABORTED));
    if (state.kind === "closed") return refuse("closed", "the connection is closed");
    if (!CHANNEL.test(channel)) return refuse("invalid-request", "channel: 1 to 64 of A-Z a-z 0-9 - . _ ~");
    return undefined;
  }

  const wish = (channel: string, history = options.history || 0): Wish =>
    (wishes[channel] = wishes[channel] || { history, settle: [] });

  const connection: Omit<Connection, typeof Symbol.asyncIterator> = {
    get state() {
      return state;
    },
    get session() {
      return who.session();
    },
    get channels() {
      return Object.keys(wishes);
    },
    get unsent() {
      return box.drafts().map(({ channel, id, body }) => ({ channel, id, body }));
    },
    on(event, listener) {
      const all = (listeners[event] = listeners[event] || []) as unknown[];
      all.push(listener);
      return () => {
        const index = all.indexOf(listener);
        if (index >= 0) all.splice(index, 1);
      };
    },
    subscribe(channel, { history, signal } = {}) {
      const refused = check(channel, signal);
      if (refused) return refused;
      if (Object.keys(wishes).length >= MOST_CHANNELS && !wishes[channel]) {
        return refuse("invalid-request", `channel: more than ${MOST_CHANNELS}`);
      }
      const { settle } = wish(channel, history);
      const followed = new Promise<void>((resolve, reject) => {
        if (channel in places) resolve();
        else settle.push((error) => (error ? reject(error) : resolve()));
      });
      change();
      return until(signal, followed, () => connection.unsubscribe(channel));
    },
    unsubscribe(channel) {
      const gone = wishes[channel];
      if (gone) {
        delete wishes[channel];
        delete places[channel];
        gone.settle.forEach((settle) => settle(failure(ABORTED)));
        change();
      }
    },
    publish(channel, body, { id, signal } = {}) {
      const refused = check(channel, signal);
      if (refused) return refused;
      const text = JSON.stringify(body);
      if (text === undefined) return refuse("unprocessable", "body: not JSON");
      if (id && promises[id]) return refuse("id-reused", "the id is that of another message");
      const draft = box.add(channel, JSON.parse(text) as Json, id);
      const stored = new Promise<Receipt>((resolve, reject) => {
        promises[draft.id] = { resolve, reject };
      });
      box.flush();
      return until(signal, stored, () => {
        delete promises[draft.id];
        box.withdraw(draft.id);
      });
    },
    history(channel, { before = NEWEST, limit = 50, signal } = {}) {
      const refused = check(channel, signal);
      if (refused) return refused;
      let cancel: Cancel;
      const page = new Promise<History>((resolve, reject) => {
        const query = { channel, before, limit };
        cancel = authorized({ route: "short-polling", query, script: ["jsonp-polling", {}] }, (answer) => {
          if (!answer || !answer.envelopes) return reject(failure(answer && answer.error ? answer : AWAY));
          const told: History = { messages: answer.envelopes };
          if (answer.before) told.before = answer.before;
          resolve(told);
        });
      });
      return until(signal, page, () => cancel());
    },
    use(wanted) {
      transports = wanted;
      if (running) choice.use(wanted);
    },
    close: () => shut({}),
  };

  (options.channels || []).forEach((channel) => wish(channel));
  Object.keys(places).forEach((channel) => wishes[channel] || delete places[channel]);
  // Whoever connects hears of everything that follows.
  later(environment, 0, () => {
    if (state.kind !== "closed") {
      begin();
      box.flush();
    }
  });
  return connection as Connection;
}

const ABORTED = { error: "aborted", detail: "by its signal, or by unsubscribing" };

/** A promise, or the end of its wait by a signal. */
function until<T>(signal: AbortSignal | undefined, promise: Promise<T>, cancel: Cancel): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      cancel();
      reject(failure(ABORTED));
    };
    const off = (): void => signal.removeEventListener("abort", abort);
    signal.addEventListener("abort", abort);
    promise.then(resolve, reject).then(off);
    if (signal.aborted) abort();
  });
}
