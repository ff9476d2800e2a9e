import { AWAY, credential } from "./credential.js";
import { type Environment, dictionary, later } from "./environment.js";
import { failure } from "./failure.js";
import type { Frame } from "./frame.js";
import { type Draft, RENEWED, outbox } from "./outbox.js";
import { type Reader, type Standing, MOST_CHANNELS, reader } from "./reader.js";
import { type Cancel, type Done, type Query, asker, extend } from "./request.js";
import { TRANSPORTS } from "./transports.js";
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

/** Behind every message. */
const NEWEST = 9007199254740991;

/** An interruption that is shorter, in milliseconds, is none. */
const BRIEF = 700;

/** What is kept over a reload. */
interface Kept extends Standing {
  session?: Session | undefined;
  drafts?: Draft[];
}

/** What others are told of a draft. */
const plain = ({ channel, id, refers, body }: Draft): Unsent => ({ channel, id, refers, body });

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

/** Connects to the routes below an absolute address, and stays connected. */
export function open(environment: Environment, address: string, options: Options): Connection {
  const base = address.replace(/\/+$/, "");
  const key = `witter:${base}`;
  const storage = (): Keeper | undefined => options.storage;
  const common = (): Keeper | undefined => environment.localStorage;
  const kept = recall<Kept>(storage, key);
  const remembered = recall<{ transport: Transport; at: number }>(common, `${key}:transport`);

  const listeners: { [E in keyof Events]?: ((told: Events[E]) => void)[] } = {};
  /** What waits to hear what becomes of its draft. */
  const promises = dictionary<Done>();
  let state: State = { kind: "connecting" };
  let calmState: Cancel = () => {};

  const ask = asker(environment, base);
  const who = credential(environment, options, kept.session, ask, (session) => {
    if (session) {
      save();
      emit("session", session);
    }
    read.renewed();
  });
  const box = outbox(environment, kept.drafts || [], {
    ready: who.ensure,
    send,
    sender: () => (who.session() || { sender: undefined }).sender,
    changed: save,
    stored(receipt) {
      settle(receipt.id, receipt);
      emit("stored", receipt);
    },
    failed(draft, why) {
      settle(draft.id, why);
      emit("failed", extend(plain(draft), { error: failure(why) }));
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

  function settle(id: string, outcome: object): void {
    const done = promises[id];
    delete promises[id];
    if (done) done(outcome);
  }

  function save(): void {
    if (options.storage) keep(storage, key, extend(read.standing(), { session: who.session(), drafts: box.drafts() }));
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
      const token = who.token();
      cancel = by(token, (answer) => {
        if (again && answer && answer.error === "unauthorized" && who.renew(token)) cancel = inquire(by, done, false);
        else done(answer);
      });
    });
    return () => cancel();
  }

  /** Asks once for what there is. */
  const poll = (query: Query, done: Done): Cancel =>
    inquire((token, heard) => {
      const question = { route: "short-polling", query: extend(query, { token }) };
      return ask(extend(question, { script: ["jsonp-polling", { wait: 0 }] as const }), heard);
    }, done);

  /** A promise of an answer that has what was asked for, unless a signal comes before it, or the end of all. */
  const answered = (begin: (done: Done) => Cancel, signal?: AbortSignal, name?: keyof Frame): Promise<Frame> => {
    let stop: Done;
    const promise = new Promise<Frame>((resolve, reject) => {
      let cancel: Cancel = () => {};
      const over: Done = (answer) => {
        heard.splice(heard.indexOf(stop), 1);
        if (!answer || answer.error || (name && !answer[name])) reject(failure(answer && answer.error ? answer : AWAY));
        else resolve(answer);
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

  function send(channel: string, drafts: Draft[], done: (answer?: Frame | Frame[]) => void): Cancel {
    const ours = drafts.map(({ id, body, refers }) => ({ id, body, refers }));
    const token = who.token();
    const speak = read.speak();
    const hear: Done = (answer) => {
      if (answer && answer.error === "unauthorized" && who.renew(token)) done({ error: RENEWED });
      else {
        if (answer && !answer.error) who.taken();
        done(answer && (answer.published || ("offset" in answer ? [answer] : answer)));
      }
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
      environment,
      base,
      who,
      poll,
      channels: options.channels || [],
      history: options.history || 0,
      presence: options.presence ? "" : undefined,
      transports: options.transports || (Object.keys(TRANSPORTS) as Transport[]),
      last: environment.Date.now() - (remembered.at || 0) < MEMORY ? remembered.transport : undefined,
      shared: options.share !== false && !!(BroadcastChannel && navigator && navigator.locks),
      become,
      live(transport) {
        keep(common, `${key}:transport`, { transport, at: environment.Date.now() });
        box.flush();
      },
      message(message) {
        if (state.kind === "closed") return;
        const session = who.session();
        if (!session || session.sender === message.sender) box.seen(message);
        emit("message", message);
      },
      gap: (gap) => emit("gap", gap),
      denied: (denial) => emit("denied", denial),
      people: (told) => emit("presence", told),
      moved: save,
      shut,
    },
    kept,
  );

  function shut({ error, detail }: Frame): void {
    become({ kind: "closed", reason: error || "" });
    const closed = { error: error || "closed", detail: detail! };
    heard.splice(0).forEach((off) => off(closed));
    read.end(closed);
    box.stop();
  }

  // ---------------------------------------------------------------- the surroundings

  /** What is to be ended with the connection. */
  const heard: Done[] = [];
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
  const look = (sure?: boolean): void => {
    read.check(sure);
    box.flush();
  };
  const { document } = environment;
  listen(environment, "online", () => look(true));
  listen(document, "visibilitychange", () => document!.hidden || look());
  // A page that is kept for the button "back" has no open connections, and comes back without a word of them.
  listen(environment, "pagehide", read.rest);
  listen(environment, "pageshow", (event) => {
    if ((event as PageTransitionEvent).persisted) read.begin();
  });

  // ---------------------------------------------------------------- the connection

  // The detail names what is at fault.
  const refuse = (error: string, detail?: string): Promise<never> =>
    Promise.reject(failure({ error, detail: detail! }));

  /** Why a call is of no use. */
  function check(channel: string | undefined, signal: AbortSignal | undefined): Promise<never> | undefined {
    if (signal && signal.aborted) return refuse("aborted");
    if (state.kind === "closed") return refuse("closed");
    if (channel !== undefined && !CHANNEL.test(channel)) return refuse("invalid-request", "channel");
    return undefined;
  }

  const connection: Omit<Connection, typeof Symbol.asyncIterator> = {
    get state() {
      return state;
    },
    get session() {
      return who.session();
    },
    get channels() {
      return read.channels();
    },
    get unsent() {
      return box.drafts().map(plain);
    },
    on(event, listener) {
      const all = (listeners[event] = listeners[event] || []) as unknown[];
      all.push(listener);
      return () => {
        const index = all.indexOf(listener);
        if (index >= 0) all.splice(index, 1);
      };
    },
    subscribe(channel, { history = options.history || 0, signal } = {}) {
      const refused = check(channel, signal);
      if (refused) return refused;
      const all = read.channels();
      if (all.length >= MOST_CHANNELS && all.indexOf(channel) < 0) {
        return refuse("invalid-request", "channel");
      }
      const followed = new Promise<void>((resolve, reject) => {
        read.follow(channel, history, (error) => (error ? reject(error) : resolve()));
      });
      return until(signal, followed, () => connection.unsubscribe(channel));
    },
    unsubscribe(channel) {
      read.unfollow(channel, ABORTED);
    },
    publish(channel, body, { id, refers, signal } = {}) {
      const refused = check(channel, signal);
      if (refused) return refused;
      const text = JSON.stringify(body);
      if (text === undefined) return refuse("unprocessable", "body");
      if (id && promises[id]) return refuse("id-reused");
      const draft = box.add(channel, JSON.parse(text) as Json, refers, id);
      const stored = answered((done) => {
        promises[draft.id] = done;
        return () => {
          delete promises[draft.id];
          // What is closed may be opened again.
          if (state.kind !== "closed") box.withdraw(draft.id);
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
  later(environment, 0, () => {
    if (state.kind !== "closed") {
      read.begin();
      box.flush();
    }
  });
  return connection as Connection;
}

const ABORTED = { error: "aborted" };

/** A promise that a signal ends. */
function until<T>(signal: AbortSignal | undefined, promise: Promise<T>, cancel: Cancel): Promise<T> {
  if (signal) {
    const off = (): void => signal.removeEventListener("abort", cancel);
    signal.addEventListener("abort", cancel);
    promise.then(off, off);
  }
  return promise;
}
