import { type Environment, later } from "./environment.js";
import { DENIAL } from "./failure.js";
import { type Frame, ending } from "./frame.js";
import type { Cancel } from "./request.js";
import { type Link, type Listener, type Open, TRANSPORTS } from "./transports.js";
import type { Transport } from "./types.js";

/**
 * Between the starts of two candidates, in milliseconds. Shorter: a slow network is asked for what it would have
 * granted anyway; longer: with six transports blocked the seventh begins after the two seconds in which people expect
 * to see something.
 */
const STAGGER = 200;

/** How long a candidate may take to bring its first frame, in milliseconds. */
const PATIENCE = 10_000;

/** When better transports are tried again for the first time, and how long that may double, in milliseconds. */
const RETRY = 60_000;
const LONGEST_RETRY = 900_000;

/** One that is cut sooner, in milliseconds, has failed; twice in a row, and all others come first. */
const STABLE = 30_000;

/** How many heartbeats may be missed: one may be late, and a network stall for another. */
const SILENCE = 2.5;

/** Between the server's heartbeats, in seconds, unless something on the way cuts what is silent for less. */
const BEAT = 15;

/**
 * A proxy that holds streams back lets pass what fills its buffer. So a stream is proven by its first heartbeat, which
 * comes alone: a server that is asked for heartbeats sends it after the first second of silence. It may take so long, in
 * milliseconds, from the frame before it: what is stuck is late by that.
 */
const PROOF = 1750;

/** What a proxy can hold back. */
const STREAM = /^(sse|xhr-streaming|htmlfile)$/;

/** A server that goes is lost to all its readers at once: they come back spread over so many milliseconds. */
const SPREAD = 500;

/** What would be the same by any transport, for as long as it lasts. */
const BUSY = /^(rate-limited|unavailable)$/;

/** What becomes of the choice. */
export interface Hooks {
  /** Opens a transport from where the reader stands. */
  begin(open: Open, heartbeat: number, listener: Listener): Link;
  /** Whether what it was opened for, from where, and as whom, still holds. */
  fits(link: Link): boolean;
  /** This carries the messages from now on; its frames follow. */
  adopted(transport: Transport, link: Link): void;
  heard(frame: Frame): void;
  /** Nothing carries messages at the moment; the next is being looked for. */
  down(): void;
  /** The server refuses this one: nothing is open, nothing is tried. */
  refused(frame: Frame, link: Link): void;
  /** Nothing gets through: nothing is open, nothing is tried. */
  exhausted(): void;
}

/** The choice of a transport. */
export interface Chooser {
  /** Tries them all, the last that worked first. */
  race(): void;
  /** Opens what is live once more, beside it: what there is to read has changed, or the network has. */
  refresh(): void;
  /** Looks after what may have died unnoticed, as in sleep. */
  check(): void;
  /** Ends what is live, as if it had been cut. */
  drop(): void;
  /** Changes what may be chosen, best first. */
  use(transports: Transport[]): void;
  /** Ends what is open and what is tried. */
  stop(): void;
}

interface Candidate {
  via: Transport;
  link?: Link;
  /** What it brought that is not handed on yet. */
  frames: Frame[];
  /** It is known that what comes alone gets through. */
  proven?: boolean | undefined;
  /** When it was adopted. */
  since: number;
  /** Ends its patience. */
  calm: Cancel;
}

/**
 * Opens transports side by side, one a little after the other, takes the first that works, and goes on looking for a
 * better one.
 *
 * One works when its first frame is here: a question went out and an answer came in, past all that stands between. It
 * takes the place of one that works already only when it is proven.
 */
export function chooser(
  environment: Environment,
  hooks: Hooks,
  transports: Transport[],
  last: Transport | undefined,
): Chooser {
  let live: Candidate | undefined;
  let candidates: Candidate[] = [];
  /** What is still to be tried. */
  let waiting: Transport[] = [];
  let beat = BEAT;
  /** When the live one was heard last. */
  let heard = 0;
  /** How often in a row each was cut soon. */
  const faults: { [transport in Transport]?: number } = {};
  /** How often in a row the live one was cut while it was silent. */
  let cuts = 0;
  let retryAfter = RETRY;
  let calmNext: Cancel = () => {};
  let calmRetry = calmNext;
  let calmSilence = calmNext;
  let calmProof = calmNext;

  const now = (): number => environment.Date.now();
  const rank = (transport: Transport): number => transports.indexOf(transport);

  const close = ({ link, calm }: Candidate): void => {
    calm();
    if (link) link.shut();
  };

  function stop(): void {
    calmNext();
    calmRetry();
    calmSilence();
    calmProof();
    waiting = [];
    candidates.forEach(close);
    if (live) close(live);
    candidates = [];
    live = undefined;
  }

  function race(): void {
    const place = (transport: Transport): number => (faults[transport]! > 1 ? 2 : transport === last ? 0 : 1);
    waiting = transports.filter(can).sort((one, other) => place(one) - place(other));
    next();
  }

  function next(): void {
    calmNext();
    const transport = waiting.shift();
    if (transport) {
      calmNext = later(environment, STAGGER, next);
      start(transport);
    } else if (!live && !candidates.length) {
      stop();
      hooks.exhausted();
    }
  }

  function start(transport: Transport): void {
    const candidate: Candidate = {
      via: transport,
      frames: [],
      since: 0,
      calm: later(environment, PATIENCE, () => lose(candidate)),
    };
    candidates.push(candidate);
    try {
      candidate.link = hooks.begin(TRANSPORTS[transport][1], beatOf(transport), {
        heard: (frame) => hear(candidate, frame),
        lost: () => lose(candidate),
      });
    } catch {
      // What the page's policy forbids may throw.
      candidate.calm();
      candidate.calm = later(environment, 0, () => lose(candidate));
    }
  }

  function refresh(): void {
    if (live && !candidates.some(({ via }) => via === live!.via)) start(live.via);
  }

  function hear(candidate: Candidate, frame: Frame): void {
    if (ending(frame)) return lose(candidate, frame);
    const { via, frames } = candidate;
    candidate.proven = candidate.proven || !STREAM.test(via) || frame.heartbeat;
    frames.push(frame);
    if (candidate !== live && (!live || live.via === via || candidate.proven)) adopt(candidate);
    if (candidate === live) {
      heard = now();
      prove(candidate);
      frames.splice(0).forEach((one) => candidate === live && hooks.heard(one));
    }
  }

  function adopt(candidate: Candidate): void {
    const { via, link } = candidate;
    const mine = rank(via);
    const worse = live && rank(live.via) < mine;
    if (worse || !hooks.fits(link!)) {
      forget(candidate);
      return worse ? undefined : start(via);
    }
    candidate.calm();
    if (live) close(live);
    calmNext();
    waiting = [];
    // What would be better may still come.
    candidates = candidates.filter((other) => {
      if (other === candidate) return false;
      if (rank(other.via) < mine) return true;
      close(other);
      return false;
    });
    live = candidate;
    last = via;
    candidate.since = now();
    listen();
    lookForBetter();
    hooks.adopted(via, link!);
  }

  function prove(candidate: Candidate): void {
    calmProof();
    if (!candidate.proven) {
      calmProof = later(environment, PROOF, () => {
        // What holds this one back holds back all that are like it.
        transports.forEach((one) => STREAM.test(one) && (faults[one] = 2));
        lose(candidate);
      });
    }
  }

  function forget(candidate: Candidate): void {
    close(candidate);
    candidates = candidates.filter((other) => other !== candidate);
  }

  function lose(candidate: Candidate, frame?: Frame): void {
    const code = frame && ending(frame);
    const wasLive = candidate === live;
    if (!wasLive && candidates.indexOf(candidate) < 0) return;
    forget(candidate);
    if (code && (DENIAL.test(code) || (BUSY.test(code) && (!live || wasLive)))) {
      // It is closed already, and a document is taken away only once.
      if (wasLive) live = undefined;
      stop();
      hooks.refused(frame, candidate.link!);
    } else if (wasLive) {
      live = undefined;
      calmNext();
      calmRetry();
      calmSilence();
      calmProof();
      if (code !== "reopen") blame(candidate);
      hooks.down();
      calmNext = later(environment, environment.Math.random() * SPREAD, race);
    } else if (live && live.via === candidate.via) {
      // What was to be had beside it is not to be had.
      lose(live);
    } else if (!live || waiting.length) next();
  }

  /** Remembers what speaks against a transport that was cut. */
  function blame({ via, since }: Candidate): void {
    faults[via] = now() - since < STABLE ? (faults[via] || 0) + 1 : 0;
    const silent = (now() - heard) / 1000;
    if (silent < 2 || silent > 2 * beatOf(via)) cuts = 0;
    else if (++cuts > 1) beat = Math.max(1, Math.min(beat, Math.floor(silent * 0.6)));
  }

  function listen(): void {
    calmSilence();
    const period = beatOf(live!.via) * 1000;
    calmSilence = later(environment, period / 2, () => {
      if (now() - heard > period * SILENCE) lose(live!);
      else listen();
    });
  }

  function lookForBetter(): void {
    calmRetry();
    if (rank(live!.via) > 0) {
      calmRetry = later(environment, retryAfter, () => {
        retryAfter = Math.min(retryAfter * 2, LONGEST_RETRY);
        tryBetter();
      });
    }
  }

  function tryBetter(): void {
    lookForBetter();
    waiting = transports.slice(0, rank(live!.via)).filter(can);
    next();
  }

  // That a document in a frame was cut is told by nothing but its silence.
  const beatOf = (transport: Transport): number => (transport === "htmlfile" ? Math.min(beat, 4) : beat);
  const can = (transport: Transport): unknown => TRANSPORTS[transport][0](environment);

  return {
    race,
    stop,
    refresh,
    check() {
      if (now() - heard > beat * 1000) refresh();
    },
    drop: () => live && lose(live),
    use(wanted) {
      transports = wanted;
      retryAfter = RETRY;
      if (live && rank(live.via) >= 0) {
        candidates.forEach(close);
        candidates = [];
        tryBetter();
      } else if (live || candidates.length) {
        stop();
        hooks.down();
        race();
      }
    },
  };
}
