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
  bearer(): string | undefined;
  /** As a guest. */
  whom(): Session | undefined;
  /** Calls back when there is one, or why there is none. */
  ensure(done: (refusal?: Frame) => void): void;
  /** Takes what was answered to one. Where it is no longer taken, tells whether there is another, or can be. */
  renew(used: string | undefined, answer?: Frame): boolean;
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
  const waiting: ((refusal?: Frame) => void)[] = [];
  const renewable = typeof given !== "string" && (!!given || guest !== undefined);
  let renewedAt = 0;
  if (given || guest === undefined) session = undefined;

  const current = (): string | undefined => (session ? session.token : token);

  function got(refusal?: Frame): void {
    waiting.splice(0).forEach((done) => done(refusal));
  }

  return {
    bearer: current,
    whom: () => session,
    taken() {
      renewedAt = 0;
    },
    renew(used, answer) {
      if (!answer || (answer.end || answer.error) !== "unauthorized") return false;
      if (used !== current()) return true;
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
