// What was said in a room, as far as it is known here. Knows no page.

/** The index of the first of `messages` with this offset or a greater one. */
function find(messages, offset) {
  let low = 0;
  let high = messages.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (messages[middle].offset < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Messages by offset, each once: those that arrive, and pages of history, which overlap with them.
 *
 * What is known is without holes but for the gaps: history is asked for when the room is followed already, and then
 * page by page before what there is.
 */
export class Timeline {
  messages = [];
  /** `{ after, resumed }`: what lies between these offsets is gone. */
  gaps = [];
  /** Whether there is nothing before the first message. */
  complete = false;
  /** Counts how often the room was begun anew: a page that was asked for before that is of no use. */
  era = 0;

  /** Takes a message. Tells whether it was not known. */
  add(message) {
    const at = find(this.messages, message.offset);
    if (this.messages[at]?.offset === message.offset) return false;
    this.messages.splice(at, 0, message);
    return true;
  }

  /** Takes a page of history: the newest messages, or those before the first that is known. */
  addPage({ messages, before }) {
    for (const message of messages) this.add(message);
    if (before === undefined) this.complete = true;
  }

  /** Takes a gap. One that leads backwards is a room begun anew: nothing of the old one is left. */
  addGap({ after, resumed }) {
    if (resumed < after || resumed < this.newest) {
      this.messages = [];
      this.gaps = [];
      this.complete = resumed === 0;
      this.era++;
    }
    this.gaps.push({ after, resumed });
  }

  /** Forgets the oldest but for `most`; they can be had again as history. */
  trim(most) {
    if (this.messages.length <= most) return;
    this.messages.splice(0, this.messages.length - most);
    this.gaps = this.gaps.filter(({ resumed }) => resumed >= this.messages[0].offset);
    this.complete = false;
  }

  /** The offset of the first message; undefined where there is none. */
  get oldest() {
    return this.messages[0]?.offset;
  }

  /** The offset of the last message, 0 where there is none. */
  get newest() {
    return this.messages.at(-1)?.offset ?? 0;
  }

  /** The messages behind an offset. */
  after(offset) {
    return this.messages.slice(find(this.messages, offset + 1));
  }
}
