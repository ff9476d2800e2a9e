// @ts-check
// What the server's framings make of a frame. Each is `crates/protocol`'s of the same name.

/** As much as some browsers and proxies hold back of a stream's beginning. */
const PADDING = " ".repeat(2048);

/** What a page keeps of a stream, in bytes and in milliseconds, before it has to reopen. */
const MOST_KEPT = 1024 * 1024;
const LONGEST_KEPT = 300_000;

/**
 * @typedef {object} Framing
 * @property {string} type
 * @property {string} prelude
 * @property {(frame: Record<string, unknown>) => string} write
 * @property {number} mostBytes
 * @property {number} longest
 */

/** @type {Framing} */
export const NDJSON = {
  type: "application/x-ndjson",
  prelude: PADDING,
  write: (frame) => `${JSON.stringify(frame)}\n`,
  mostBytes: MOST_KEPT,
  longest: LONGEST_KEPT,
};

/**
 * @param {boolean} visible Whether heartbeats are events that a page sees.
 * @returns {Framing}
 */
export const sse = (visible) => ({
  type: "text/event-stream",
  prelude: `:${PADDING}\nretry: 1000\n`,
  write(frame) {
    const id = frame.cursor ? `id: ${frame.cursor}\n\n` : "\n";
    if (frame.open) return `event: cursor\ndata: {}\n${id}`;
    if (frame.envelope) return `data: ${JSON.stringify(frame.envelope)}\n${id}`;
    if (frame.gap) return `event: gap\ndata: ${JSON.stringify(frame.gap)}\n${id}`;
    if (frame.denied) return `event: denied\ndata: ${JSON.stringify(frame.denied)}\n${id}`;
    if (frame.state) return `event: state\ndata: ${JSON.stringify(frame.state)}\n\n`;
    if (frame.heartbeat) return visible ? "event: heartbeat\ndata: {}\n\n" : ":hb\n";
    return `event: end\ndata: ${JSON.stringify(frame)}\n\n`;
  },
  mostBytes: Infinity,
  longest: Infinity,
});

/**
 * @param {string} origin
 * @returns {Framing}
 */
export const htmlfile = (origin) => ({
  type: "text/html; charset=utf-8",
  prelude:
    "<!doctype html>\n<html><head><title>Witter</title>\n" +
    "<script>if(parent===self)document.write('<plaintext>');</script>\n" +
    `</head><body>${PADDING}\n`,
  write: (frame) => `<script>parent.postMessage('${literal(JSON.stringify(frame))}','${origin}')</script>\n`,
  mostBytes: MOST_KEPT,
  longest: LONGEST_KEPT,
});

/**
 * @param {string} callback
 * @param {unknown} answer
 */
export const jsonp = (callback, answer) => `/**/${callback}(JSON.parse('${literal(JSON.stringify(answer))}'));`;

/** @type {Record<string, string>} */
const ESCAPES = {
  "\\": "\\\\",
  "'": "\\'",
  "<": "\\x3c",
  "\r": "\\r",
  "\n": "\\n",
  "\0": "\\x00",
  "\u2028": "\\u2028",
  "\u2029": "\\u2029",
};

/** @param {string} text */
const literal = (text) => text.replace(/[\\'<\r\n\0\u2028\u2029]/g, (one) => ESCAPES[one]);
