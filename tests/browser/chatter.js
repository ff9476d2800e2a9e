// Somebody who does not stop talking.

import { setTimeout as pause } from "node:timers/promises";

/** Says `Bob 1`, `Bob 2` … in a channel, 20 a second, until it is told to stop; then there are so many. */
export function chatter(guest, channel) {
  const end = new AbortController();
  const said = (async () => {
    let count = 0;
    while (!end.signal.aborted) {
      await guest.say(channel, JSON.stringify(`Bob ${++count}`));
      await pause(50);
    }
    return count;
  })();
  return () => {
    end.abort();
    return said;
  };
}
