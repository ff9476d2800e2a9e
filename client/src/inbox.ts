import type { Frame } from "./frame.js";
import type { Gap, Message } from "./types.js";

/** Where one stands in each channel that the cursor names: the last offset; -1: no message was seen yet. */
export type Places = Record<string, number>;

/**
 * Hands on what a frame or a batch brings: the messages of each channel in their order, each once, whatever was
 * opened twice on the way. The answer is the message before which one is missing: from there on nothing was handed on.
 *
 * An offset that follows on the last one is the next message; a lower one was there already. A gap is told where its
 * place is among the messages of its channel.
 */
export function receive(
  places: Places,
  frame: Frame,
  heard: (message: Message) => void,
  missed: (gap: Gap) => void,
): Message | undefined {
  let gaps = ([] as Gap[]).concat(frame.gaps || frame.gap || []);
  const tell = (due: (gap: Gap) => boolean): void => {
    gaps = gaps.filter((gap) => {
      if (!due(gap)) return true;
      if (gap.channel in places) {
        places[gap.channel] = gap.resumed;
        missed(gap);
      }
      return false;
    });
  };
  let astray: Message | undefined;
  ([] as Message[]).concat(frame.envelopes || frame.envelope || []).every((message) => {
    const { channel, offset } = message;
    tell((gap) => gap.channel === channel && (gap.after === places[channel] || gap.resumed === offset - 1));
    const place = places[channel];
    if (place === undefined || (place >= 0 && offset <= place)) return true;
    if (place >= 0 && offset > place + 1) {
      astray = message;
      return false;
    }
    places[channel] = offset;
    heard(message);
    return true;
  });
  if (!astray) tell(() => true);
  return astray;
}
