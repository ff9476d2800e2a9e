import type { Environment } from "./environment.js";
import type { Frame } from "./frame.js";
import type { Done, Question } from "./request.js";
import type { Options, Session } from "./types.js";

/** One that is refused so soon after the last one was, in milliseconds, and was never taken, is refused for good. */
const RENEWAL = 60_000;

/** None is to be had at the moment. */
export const AWAY: Frame = { error: "unavailable" };

/** As whom one speaks. */
export interface Credential {
  /** What the server knows one by, while it takes it. */
  token(): string | undefined;
  session(): Session | undefined;
  /** Calls back when there is one, or why there is none. */
  ensure(done: (refusal?: Frame) => void): void;
  /** The server no longer takes this one. Tells whether there is another, or can be. */
  renew(refused: string | undefined): boolean;
  /** The server takes it. */
  taken(): void;
}

/** Gets credentials as the options say: a token, what gets one, or a name for a guest. */
export function credential(
  { Date }: Environment,
  { token: given, guest }: Options,
  session: Session | undefined,
  ask: (question: Question, done: Done) => void,
  told: (session?: Session) => void,
): Credential {
  let token = typeof given === "string" ? given : undefined;
  let waiting: ((refusal?: Frame) => void)[] = [];
  const renewable = typeof given !== "string" && (!!given || guest !== undefined);
  let renewedAt = 0;
  if (given || guest === undefined) session = undefined;

  const current = (): string | undefined => (session ? session.token : token);

  function got(refusal?: Frame): void {
    const all = waiting;
    waiting = [];
    all.forEach((done) => done(refusal));
  }

  return {
    token: current,
    session: () => session,
    taken() {
      renewedAt = 0;
    },
    renew(refused) {
      if (refused !== current()) return true;
      const now = Date.now();
      if (!renewable || now - renewedAt < RENEWAL) return false;
      renewedAt = now;
      session = token = undefined;
      return true;
    },
    ensure(done) {
      // When it ends is said by the server's clock: whether it has ended is, too.
      if (current() || !renewable) return done();
      if (waiting.push(done) > 1) return;
      if (given) {
        new Promise<string>((resolve) => resolve((given as () => string | PromiseLike<string>)())).then(
          (text) => {
            token = text;
            told();
            got();
          },
          () => got(AWAY),
        );
      } else {
        const name = { name: guest! };
        ask({ route: "session", query: {}, body: JSON.stringify(name), script: ["jsonp-session", name] }, (answer) => {
          if (!answer || !answer.token) return got(answer && answer.error ? answer : AWAY);
          session = answer as Session;
          told(session);
          got();
        });
      }
    },
  };
}
