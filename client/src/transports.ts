import { type Environment, extend, later } from "./environment.js";
import { type Frame, parse } from "./frame.js";
import { lines } from "./lines.js";
import { type Ask, type Cancel, type Query, address, byRequest, byScript, canRequest } from "./request.js";
import type { Transport } from "./types.js";

/** What every transport is opened with. */
export interface Place {
  around: Environment;
  /** The address of the routes, absolute, without a slash behind it. */
  base: string;
  query: Query;
}

/** What an open transport tells. */
export interface Listener {
  heard(frame: Frame): void;
  /** It ended without a word, or brought what is none of the server's. */
  lost(): void;
}

/** An open transport. Closed, it tells nothing more. */
export interface Link {
  shut(): void;
  /** Where it goes both ways. */
  say?(text: string): void;
  /** What it was opened for. */
  follows?: string[];
}

/** Begins to read. Tells nothing before it returns. */
export type Open = (place: Place, listener: Listener) => Link;

/** How often short polling asks, in milliseconds: messages are late by half of that. */
const PERIOD = 1000;

/** How many envelopes an answer has at most. */
export const LIMIT = 100;

/** What a text says; what says nothing ends the transport. */
const hear = (text: string, { heard, lost }: Listener): void => {
  const told = parse(text);
  if (told) heard(told);
  else lost();
};

const websocket: Open = ({ around, base, query }, listener) => {
  const url = address(base, "websocket", query).replace(/^http/, "ws");
  const socket = new around.WebSocket!(url, "witter.v1");
  socket.onmessage = ({ data }) => hear(data as string, listener);
  socket.onclose = listener.lost;
  // The close behind it says so much too; npm's ws throws an error that nobody hears.
  socket.onerror = () => {};
  return {
    say: (text) => socket.send(text),
    shut() {
      socket.onmessage = socket.onclose = null;
      socket.close();
    },
  };
};

const sse: Open = ({ around, base, query }, { heard, lost }) => {
  const source = new around.EventSource!(address(base, "sse", query));
  const on = (type: string, name?: string): void =>
    source.addEventListener(type, ({ data, lastEventId }: MessageEvent<string>) => {
      const told = parse(data);
      // It is kept from one event to the next: not every one has its own.
      if (told) heard(extend({ cursor: lastEventId }, name ? { [name]: told } : told) as Frame);
      else lost();
    });
  on("cursor");
  on("end");
  on("message", "envelope");
  ["heartbeat", "gap", "denied", "state"].forEach((name) => on(name, name));
  // It would reopen by itself; whoever listens knows better when, and by what.
  source.onerror = lost;
  return { shut: () => source.close() };
};

const xhrStreaming: Open = ({ around, base, query }, listener) => {
  const cut = lines();
  let open = true;
  const cancel = byRequest(
    around,
    address(base, "xhr-streaming", query),
    listener.lost,
    undefined,
    (text) => cut(text).forEach((line) => open && hear(line, listener)),
  );
  return {
    shut() {
      open = false;
      cancel();
    },
  };
};

const htmlfile: Open = ({ around, base, query }, listener) => {
  const document = around.document!;
  const iframe = document.createElement("iframe");
  const origin = /^\w+:\/\/[^/]+/.exec(around.location!.href)![0];
  const heard = (event: Event): void => {
    const { source, data } = event as MessageEvent<string>;
    if (source && source === iframe.contentWindow) hear(data, listener);
  };
  around.addEventListener!("message", heard);
  iframe.style.display = "none";
  let calm: Cancel = () => {};
  // The document is whole when the stream has ended, or never began. Why it ended was said before, and is heard as a
  // task of its own, which may come later.
  iframe.onload = () => {
    calm = later(around, 0, listener.lost);
  };
  iframe.src = address(base, "htmlfile", extend(query, { origin }));
  document.body.appendChild(iframe);
  return {
    shut() {
      around.removeEventListener!("message", heard);
      calm();
      iframe.onload = null;
      document.body.removeChild(iframe);
    },
  };
};

/** Asks again and again. `held`: the server keeps a question until there is something to say. */
const polling =
  (route: Transport, held: boolean, ask: Ask): Open =>
  ({ around, base, query }, { heard, lost }) => {
    let open = true;
    let cancel: Cancel;
    const poll = (wait: number): void => {
      const since = around.Date.now();
      cancel = ask(around, address(base, route, extend(query, { wait })), (answer) => {
        if (!answer || !(answer.envelopes || answer.error)) return lost();
        query = extend(query, {
          after: answer.cursor,
          history: undefined,
          presence: answer.presence || query.presence,
        });
        heard(answer);
        if (!open) return;
        // Where silence is cut early the question must come back before that.
        const beat = query.heartbeat as number;
        const again = (): void => poll(beat < 15 ? beat : 25);
        const { length } = answer.envelopes!;
        // A server whose store is away answers a held question at once, with nothing.
        const prompt = held ? !wait || length || around.Date.now() - since >= PERIOD : length >= LIMIT;
        if (prompt) again();
        else cancel = later(around, PERIOD, again);
      });
    };
    // The first is answered at once: it tells whether anything gets through.
    poll(0);
    return {
      shut() {
        open = false;
        cancel();
      },
    };
  };

/** Whether an environment has what a transport takes, and how to open it; best first. */
export const TRANSPORTS: Record<Transport, [has: (environment: Environment) => unknown, open: Open]> = {
  websocket: [({ WebSocket }) => WebSocket, websocket],
  sse: [({ EventSource }) => EventSource, sse],
  "xhr-streaming": [(environment) => (environment.fetch ? environment.TextDecoder : canRequest(environment)), xhrStreaming],
  "long-polling": [canRequest, polling("long-polling", true, byRequest)],
  "short-polling": [canRequest, polling("short-polling", false, byRequest)],
  htmlfile: [({ document, addEventListener }) => document && addEventListener, htmlfile],
  "jsonp-polling": [({ document }) => document, polling("jsonp-polling", true, byScript)],
};
