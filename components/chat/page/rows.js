// A room as rows, from top to bottom. Knows no page.

/** Successive messages of one sender stand together unless so much time went by, in milliseconds. */
const TOGETHER = 300_000;

/**
 * The rows of a room: `kind` and what is shown of it. A row is drawn again when its `version` changes; `key` is its own.
 *
 * `dayOf` gives the day of a time, as a text.
 */
export function rows({ timeline, pending, divider, top, denied }, mine, dayOf) {
  const messages = [...timeline.messages, ...pending];
  const { oldest } = timeline;
  const empty = messages.length === 0;
  const made = [{ kind: "top", key: "top", version: `${top} ${oldest} ${denied} ${empty}`, top, oldest, empty }];
  const senders = byName(messages);
  const gaps = [...timeline.gaps].sort((one, other) => one.resumed - other.resumed);
  let day;
  let last;
  const apart = (row) => {
    made.push({ ...row, version: row.version ?? "" });
    last = undefined;
  };
  const tellGaps = (offset) => {
    while (gaps[0]?.resumed < offset) {
      const { after, resumed } = gaps.shift();
      // How many are missing is not known where the room was begun anew, or the place before was unknown.
      const count = after > 0 && resumed > after ? resumed - after : undefined;
      apart({ kind: "gap", key: `gap ${after} ${resumed}`, anew: resumed < after, count });
    }
  };
  for (const message of messages) {
    tellGaps(message.offset ?? Infinity);
    if (dayOf(message.sent_at) !== day) {
      day = dayOf(message.sent_at);
      apart({ kind: "day", key: `day ${day}`, at: message.sent_at });
    }
    if (divider !== undefined && message.offset > divider) {
      divider = undefined;
      apart({ kind: "new", key: "new" });
    }
    const own = mine.has(message.sender) || message.state !== undefined;
    const first = !(last && last.message.sender === message.sender && message.sent_at - last.message.sent_at < TOGETHER);
    if (last && !first) last.ends = false;
    const tag = senders.get(message.name)?.size > 1 ? message.sender.slice(-4) : "";
    last = { kind: "message", key: `message ${message.offset ?? message.id}`, message, own, first, ends: true, tag };
    made.push(last);
  }
  tellGaps(Infinity);
  for (const row of made) {
    if (row.kind === "message") row.version = [row.first, row.ends, row.own, row.tag, row.message.state].join(" ");
  }
  return made;
}

/** Which senders go by a name: the names are theirs to choose, the senders are not. */
function byName(messages) {
  const senders = new Map();
  for (const { name, sender } of messages) {
    // One's own before the server said who one is.
    if (!sender) continue;
    if (!senders.has(name)) senders.set(name, new Set());
    senders.get(name).add(sender);
  }
  return senders;
}
