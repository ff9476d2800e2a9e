import { AWAY, credential } from "./credential.js";
import { type Environment, dictionary, extend, later } from "./environment.js";
import { ABORTED, failure } from "./failure.js";
import type { Frame } from "./frame.js";
import { type Draft, RENEWED, outbox } from "./outbox.js";
import { type Reader, type Standing, MOST_CHANNELS, reader } from "./reader.js";
import { type Cancel, type Done, type Query, type Question, asker } from "./request.js";
import type {
  Connection,
  Events,
  Json,
  Keeper,
  Options,
  Receipt,
  Session,
  State,
  Transport,
  Unsent,
} from "./types.js";

const CHANNEL = /^(?=.{1,64}$)@?[\w.~-]+$/;

/** How long it is remembered by which transport a server was reached, in milliseconds: networks change. */
const MEMORY = 3_600_000;

/** An interruption that is shorter, in milliseconds, is none. */
const BRIEF = 700;

/** Behind every message. */
const NEWEST = 9007199254740991;

/** What is kept over a reload. */
interface Kept extends Standing {
  session?: Session | undefined;
  drafts?: Draft[];
}

/** What others are told of a draft. */
const plain = ({ channel, id, refers, body }: Draft): Unsent => ({ channel, id, refers, body });

/** What has a place to keep things. */
interface Owner {
  storage?: Keeper;
  localStorage?: Keeper;
}

/** Reads JSON that was kept, by whatever version. The place may be forbidden: then it throws where it is named. */
const recall = <T>(owner: Owner, place: keyof Owner, key: string): Partial<T> => {
  try {
    return JSON.parse(owner[place]!.getItem(key)!) || {};
  } catch {
    return {};
  }
};

/** Keeps JSON. Where the place is full or forbidden, what is known lasts as long as the page. */
const keep = (owner: Owner, place: keyof Owner, key: string, value: unknown): void => {
  try {
    owner[place]!.setItem(key, JSON.stringify(value));
  } catch {
    // As above.
  }
};

/** Connects to the routes below an absolute address, and stays connected. */
export function open(environment: Environment, address: string, options: Options): Connection {
  const base = address.replace(/\/+$/, "");
  const common = `witter:${base}:transport`;
  // Whose it is, where the page says so: the next in the same tab is not to send it.
  const own = `witter:${base}${options.account ? `#${options.account}` : ""}`;
  const kept = recall<Kept>(options, "storage", own);
  const remembered = recall<{ transport: Transport; at: number }>(environment, "localStorage", common);

  const listeners: { [E in keyof Events]?: ((told: Events[E]) => void)[] } = {};
  /** What waits to hear what becomes of its draft. */
  const promises = dictionary<Done>();
  let state: State = { kind: "connecting" };
  let calmState: Cancel = () => {};

  const ask = asker(environment, base);
  // What is closed is nobody any more.
  const introduce = (question: Question, done: Done): unknown => heard.push(ask(question, done));
  const who = credential(environment, options, kept.session, introduce, (session) => {
    if (session) {
      save();
      emit("session", session);
    }
    read.renewed();
  });
  const box = outbox(environment, kept.drafts || [], {
    ready: who.ensure,
    say: send,
    whom: () => (who.whom() || { sender: undefined }).sender,
    changed: save,
    taken(receipt) {
      settle(receipt.id, receipt);
      emit("stored", receipt);
    },
    lost(draft, why) {
      settle(draft.id, why);
      emit("failed", extend(plain(draft), { error: failure(why) }));
    },
  });

  function emit<E extends keyof Events>(event: E, told: Events[E]): void {
    (listeners[event] || []).forEach((listener) => {
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

  function settle(id: string, outcome: object): void {
    const done = promises[id];
    delete promises[id];
    if (done) done(outcome);
  }

  function save(): void {
    if (options.storage) keep(options, "storage", own, extend(read.standing(), { session: who.whom(), drafts: box.drafts() }));
  }

  function become(next: State): void {
    calmState();
    const enter = (): void => {
      if (JSON.stringify(next) !== JSON.stringify(state) && state.kind !== "closed") {
        state = next;
        emit("state", next);
      }
    };
    // Streams are reopened now and then; nobody has to hear of it.
    if (next.kind === "connecting") calmState = later(environment, BRIEF, enter);
    else enter();
  }

  // ---------------------------------------------------------------- asking

  /** Asks with the credential, and again with a new one where the server does not take it. */
  function inquire(by: (token: string | undefined, done: Done) => Cancel, done: Done, again = true): Cancel {
    let over = false;
    let cancel: Cancel = () => {
      over = true;
    };
    who.ensure((refusal) => {
      if (over || refusal) return over || done(refusal);
      const token = who.bearer();
      cancel = by(token, (answer) => {
        if (again && who.renew(token, answer)) cancel = inquire(by, done, false);
        else done(answer);
      });
    });
    return () => cancel();
  }

  /** Asks once for what there is. */
  const poll = (query: Query, done: Done): Cancel =>
    inquire((token, heard) => {
      const script = ["jsonp-polling", { wait: 0 }] as const;
      return ask({ route: "short-polling", query: extend(query, { token }), script }, heard);
    }, done);

  /** A promise of an answer that has what was asked for, unless a signal comes before it, or the end of all. */
  const answered = (begin: (done: Done) => Cancel, signal?: AbortSignal, name?: keyof Frame): Promise<Frame> => {
    let stop: Done;
    const promise = new Promise<Frame>((resolve, reject) => {
      let cancel: Cancel = () => {};
      const over: Done = (answer) => {
        heard = heard.filter((one) => one !== stop);
        if (answer && !answer.error && (!name || answer[name])) resolve(answer);
        else reject(failure(answer && answer.error ? answer : AWAY));
      };
      stop = (why) => {
        cancel();
        over(why);
      };
      heard.push(stop);
      cancel = begin(over);
    });
    return until(signal, promise, () => stop(ABORTED));
  };

  function send(channel: string, drafts: Draft[], done: (answers?: Frame[]) => void): Cancel {
    const ours = drafts.map(({ id, body, refers }) => ({ id, body, refers }));
    const token = who.bearer();
    const speak = read.speak();
    const hear: Done = (answer) => {
      if (who.renew(token, answer)) return done([{ error: RENEWED }]);
      if (answer && !answer.error) who.taken();
      done(answer && ([] as Frame[]).concat(answer.published || answer));
    };
    if (speak) return speak({ publish: { channel, drafts: ours } }, hear);
    const { id, body, refers } = ours[0]!;
    return ask(
      {
        route: "publish",
        query: { channel, token },
        body: JSON.stringify(ours),
        script: ["jsonp-publish", { id, body: JSON.stringify(body), refers: JSON.stringify(refers) }],
      },
      hear,
    );
  }

  // ---------------------------------------------------------------- reading

  const { BroadcastChannel, navigator } = environment;
  const read: Reader = reader(
    {
      around: environment,
      base,
      who,
      poll,
      last: remembered.at! + MEMORY > environment.Date.now() ? remembered.transport : undefined,
      shared: options.share !== false && BroadcastChannel && navigator && navigator.locks,
      become,
      ready(transport) {
        keep(environment, "localStorage", common, { transport, at: environment.Date.now() });
        box.flush(true);
      },
      heard(message) {
        const session = who.whom();
        if (!session || session.sender === message.sender) box.seen(message);
        emit("message", message);
      },
      emit,
      moved: save,
      shut,
    },
    options,
    kept,
  );

  function shut({ error, detail }: Frame): void {
    become({ kind: "closed", reason: error || "" });
    const closed = { error: error || "closed", detail: detail! };
    heard.forEach((off) => off(closed));
    read.end(closed);
    box.stop();
  }

  // ---------------------------------------------------------------- the surroundings

  /** What is to be ended with the connection. */
  let heard: Done[] = [];
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
  const look = (sure?: unknown): void => {
    read.check(sure);
    box.flush(true);
  };
  const { document } = environment;
  listen(environment, "online", look);
  listen(document, "visibilitychange", () => document!.hidden || look());
  // A page that is kept for the button "back" has no open connections, and comes back without a word of them.
  listen(environment, "pagehide", read.rest);
  listen(environment, "pageshow", read.begin);

  // ---------------------------------------------------------------- the connection

  // The detail names what is at fault.
  const refuse = (detail: string, error = "invalid-request"): Promise<never> => Promise.reject(failure({ error, detail }));

  /** Why a call is of no use. */
  function check(channel: string | undefined, signal?: AbortSignal, history = 0): Promise<never> | undefined {
    if (signal && signal.aborted) return refuse("", "aborted");
    if (state.kind === "closed") return refuse("", "closed");
    if (channel !== undefined && !CHANNEL.test(channel)) return refuse("channel");
    // An integer from 0 to 1,000.
    if (history >>> 0 !== history || history > 1000) return refuse("history");
    return undefined;
  }

  const connection: Omit<Connection, typeof Symbol.asyncIterator> = {
    get state() {
      return state;
    },
    get session() {
      return who.whom();
    },
    get channels() {
      return read.follows();
    },
    get unsent() {
      return box.drafts().map(plain);
    },
    on(event, listener) {
      const all = listeners as Record<string, unknown[]>;
      all[event] = (all[event] || []).concat(listener);
      return () => {
        all[event] = all[event]!.filter((one) => one !== listener);
      };
    },
    subscribe(channel, { history = options.history || 0, signal } = {}) {
      const refused = check(channel, signal, history);
      if (refused) return refused;
      const all = read.follows();
      if (all.length >= MOST_CHANNELS && all.indexOf(channel) < 0) {
        return refuse("channel");
      }
      let cancel: Cancel = () => {};
      const followed = new Promise<void>((resolve, reject) => {
        cancel = read.follow(channel, history, (error) => (error ? reject(error) : resolve()));
      });
      return until(signal, followed, cancel);
    },
    unsubscribe(channel) {
      read.unfollow(channel, ABORTED);
    },
    publish(channel, body, { id, refers, signal } = {}) {
      const refused = check(channel, signal);
      if (refused) return refused;
      const text = JSON.stringify(body);
      if (!text) return refuse("body", "unprocessable");
      if (id && promises[id]) return refuse("", "id-reused");
      const draft = box.add(channel, JSON.parse(text) as Json, refers, id);
      const stored = answered((done) => {
        promises[draft.id] = done;
        return () => {
          delete promises[draft.id];
          // What is closed may be opened again.
          if (state.kind !== "closed") box.withdraw(draft);
        };
      }, signal);
      box.flush();
      return stored as Promise<unknown> as Promise<Receipt>;
    },
    history(channel, { before = NEWEST, limit = 50, signal } = {}) {
      return (
        check(channel, signal) ||
        answered((done) => poll({ channel, before, limit }, done), signal, "envelopes").then((page) => ({
          messages: page.envelopes!,
          before: page.before,
        }))
      );
    },
    perform(command, { signal } = {}) {
      const body = JSON.stringify(command);
      const by = (token: string | undefined, done: Done): Cancel => {
        const speak = read.speak();
        return speak
          ? speak({ command }, done)
          : ask({ route: "command", query: { token }, body, script: ["jsonp-command", { command: body }] }, done);
      };
      return (
        check(undefined, signal) ||
        answered((done) => inquire(by, done), signal).then((answer) => answer.answer || (answer as never))
      );
    },
    use: read.use,
    close: () => shut({}),
  };

  // Whoever connects hears of everything that follows.
  heard.push(
    later(environment, 0, () => {
      read.begin();
      box.flush();
    }),
  );
  return connection as Connection;
}

/** A promise that a signal ends. */
function until<T>(signal: AbortSignal | undefined, promise: Promise<T>, cancel: Cancel): Promise<T> {
  if (signal) {
    const off = (): void => signal.removeEventListener("abort", cancel);
    signal.addEventListener("abort", cancel);
    promise.then(off, off);
  }
  return promise;
}
