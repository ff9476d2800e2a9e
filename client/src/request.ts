import { type Environment, extend, later } from "./environment.js";
import { type Frame, parse } from "./frame.js";
import { byXhr } from "./xhr.js";

/** The parameters of a request; those that are undefined are left out. */
export interface Query {
  [name: string]: string | number | string[] | undefined;
}

/** Ends what was begun; nothing is heard of it afterwards. */
export type Cancel = () => void;

/** How long an answer may take, in milliseconds. */
export const PATIENCE = 10_000;

/** How much later a script asks what a request asked, in milliseconds, where neither is known to get through. */
const HEAD_START = 400;

/** Longer addresses are cut by proxies and old browsers; a request's body is not. */
const LONGEST_ADDRESS = 30_000;

/** Hears the answer to a request, once; undefined: nothing came, or what came was none. */
export type Done = (answer?: Frame) => void;

/** Asks by `GET`, or by `POST` where there is a body. */
export type Ask = (environment: Environment, url: string, done: Done, body?: string) => Cancel;

/**
 * Every request is one that pages may make without asking first: the credential stands in the address, a body is
 * plain text, and refusals come as answers (`errors=inline`), since scripts and `EventSource` see no other.
 */
export function address(base: string, route: string, query: Query): string {
  let text = `${base}/${route}?errors=inline`;
  for (const name in query) {
    const value = query[name];
    if (value !== undefined) {
      ([] as (string | number)[]).concat(value).forEach((one) => {
        text += `&${name}=${encodeURIComponent(one)}`;
      });
    }
  }
  return text;
}

/** Asks by a request. `chunk` hears the text of the answer while it arrives. */
export function byRequest(
  environment: Environment,
  url: string,
  done: Done,
  body?: string,
  chunk?: (text: string) => void,
): Cancel {
  let over = false;
  const abort = (environment.fetch ? byFetch : byXhr!)(
    environment,
    url,
    body,
    (text) => {
      if (!over) {
        over = true;
        done(parse(text));
      }
    },
    chunk && ((text) => over || !text || chunk(text)),
  );
  return () => {
    over = true;
    abort();
  };
}

/** Sends a request, and hears the text of its answer: whole at the end, or while it arrives. */
export type Send = (
  environment: Environment,
  url: string,
  body: string | undefined,
  done: (text?: string) => void,
  chunk?: (text: string) => void,
) => Cancel;

export const method = (body?: string): string => (body ? "POST" : "GET");

/** Whether there is a way to make requests. */
export const canRequest = ({ fetch, XMLHttpRequest }: Environment): unknown => fetch || (byXhr && XMLHttpRequest);

const byFetch: Send = ({ fetch, AbortController, TextDecoder }, url, body, done, chunk) => {
  const controller = AbortController && new AbortController();
  // What is undefined is as if it were absent.
  const init = {
    method: method(body),
    credentials: "omit",
    body,
    signal: controller && controller.signal,
  } as RequestInit;
  const pour = (response: Response): PromiseLike<undefined> => {
    const reader = response.body!.getReader();
    const decoder = new TextDecoder!();
    const next = (): PromiseLike<undefined> =>
      reader.read().then((read) => {
        chunk!(decoder.decode(read.value, { stream: !read.done }));
        return read.done ? undefined : next();
      });
    return next();
  };
  fetch!(url, init)
    .then((response): PromiseLike<string | undefined> => (chunk ? pour(response) : response.text()))
    .then(done, () => done());
  return () => controller && controller.abort();
};

/** Asks by a script element, where nothing else is let through: the route is one that takes `callback`. */
export const byScript: Ask = (environment, url, done) => {
  const head = environment.document!.head;
  const script = environment.document!.createElement("script");
  // The answer calls it by its name, as a member of the window.
  const callbacks = environment as unknown as Record<string, Done>;
  const name = `witter_${environment.Math.random().toString(36).slice(2)}`;
  let over = false;
  const end = (answer?: Frame): void => {
    if (!over) {
      over = true;
      head.removeChild(script);
      done(answer);
    }
  };
  // A script that is under way cannot be stopped: until it has run, its name stays, and does nothing any more.
  const gone = (): void => {
    delete callbacks[name];
    end();
  };
  callbacks[name] = end;
  script.onload = script.onerror = gone;
  try {
    script.src = `${url}&callback=${name}`;
  } catch {
    // The page's policy forbids it (Trusted Types).
    later(environment, 0, gone);
  }
  head.appendChild(script);
  return () => {
    done = () => {};
    end();
  };
};

/** Only scripts get through, and this does not fit into one's address. */
const TOO_LARGE: Frame = { error: "too-large" };

/** A question that is asked once. */
export interface Question {
  route: string;
  query: Query;
  /** What a `POST` carries. */
  body?: string | undefined;
  /** The same for a script element: the route and what its query has beside. */
  script: readonly [route: string, query: Query];
}

/**
 * Asks by a request, or by a script where requests do not get through: across origins in an old browser, or where they
 * are blocked. Until it is known which does, both are tried; the server takes the same question twice.
 */
export function asker(environment: Environment, base: string): (question: Question, done: Done) => Cancel {
  let proven: Ask | undefined;
  return ({ route, query, body, script: [scripted, further] }, done) => {
    const cancels: Cancel[] = [];
    const ways: Ask[] = canRequest(environment) ? [byRequest] : [];
    const url = address(base, scripted, extend(query, further));
    const tooLong = url.length > LONGEST_ADDRESS;
    if (environment.document && !tooLong) ways.push(byScript);
    const nothing = tooLong && (!ways.length || proven === byScript) ? TOO_LARGE : undefined;
    if (proven && ways.indexOf(proven) >= 0) ways.splice(0, 2, proven);
    let open = 0;
    const finish: Done = (answer) => {
      cancels.forEach((cancel) => cancel());
      done(answer);
    };
    const next = (): void => {
      const way = ways.shift();
      if (!way) {
        if (!open) cancels.push(later(environment, 0, () => finish(nothing)));
        return;
      }
      open++;
      if (ways.length) cancels.push(later(environment, HEAD_START, next));
      cancels.push(
        way(
          environment,
          way === byRequest ? address(base, route, query) : url,
          (answer) => {
            open--;
            if (answer) {
              proven = way;
              finish(answer);
            } else {
              if (way === proven) proven = undefined;
              next();
            }
          },
          body,
        ),
      );
    };
    cancels.push(later(environment, PATIENCE, () => finish()));
    next();
    return () => cancels.forEach((cancel) => cancel());
  };
}
