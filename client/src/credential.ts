import type { Frame } from "./frame.js";
import type { Done, Question } from "./request.js";
import type { Options, Session } from "./types.js";

/** None is to be had at the moment. */
export const AWAY: Frame = { error: "unavailable" };

/** As whom one speaks. */
export interface Credential {
  /** What the server knows one by, while it takes it. */
  token(): string | undefined;
  session(): Session | undefined;
  /** Calls back when there is one, or why there is none. */
  ensure(done: (refusal?: Frame) => void): void;
  /** The server no longer takes this one. Tells whether another can be had. */
  renew(refused: string | undefined): boolean;
}

/** Gets credentials as the options say: a token, what gets one, or a name for a guest. */
export function credential(
  { token: given, guest }: Options,
  session: Session | undefined,
  ask: (question: Question, done: Done) => void,
  told: (session?: Session) => void,
): Credential {
  let token = typeof given === "string" ? given : undefined;
  let waiting: ((refusal?: Frame) => void)[] = [];
  if (given || guest === undefined) session = undefined;

  function got(refusal?: Frame): void {
    const all = waiting;
    waiting = [];
    all.forEach((done) => done(refusal));
  }

  return {
    token: () => (session ? session.token : token),
    session: () => session,
    renew(refused) {
      if (typeof given === "string") return false;
      if (session && session.token === refused) session = undefined;
      if (token === refused) token = undefined;
      return !!given || guest !== undefined;
    },
    ensure(done) {
      // When it ends is said by the server's clock: whether it has ended is, too.
      if (session || token || !(given || guest !== undefined)) return done();
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
