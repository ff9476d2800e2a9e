// A room as rows, from top to bottom. Knows no page.

/** Successive messages of one sender stand together unless so much time went by, in milliseconds. */
const TOGETHER = 300_000;

/** What is said in a message of its own. */
const CHANGES = /^(edit|delete|reaction)$/;

/** What has become of a message, as a text: another when anything is to be drawn otherwise. */
const life = (shown) => (shown?.edited || shown?.reactions.length ? JSON.stringify([shown.body, shown.reactions]) : "");

/** One's own that is on its way, as if it were shown already. A change is not, until it is refused. */
const onTheWay = (pending) =>
  pending
    .filter(({ refers, state }) => state === "failed" || !CHANGES.test(refers?.kind))
    .map((message) => ({ message, body: message.body, edited: false, reactions: [], reply: replied(message) }));

const replied = ({ refers }) => (refers?.kind === "reply" ? refers.offset : undefined);

/** Who has read up to which message, of those that are shown: senders by offset. */
function readers(shown, marks, mine) {
  const found = new Map();
  for (const [sender, { read }] of Object.entries(marks)) {
    if (mine.has(sender)) continue;
    const last = shown.findLast(({ message }) => message.offset <= read);
    // Who wrote a message has read it.
    if (!last || last.message.sender === sender) continue;
    const { offset } = last.message;
    found.set(offset, [...(found.get(offset) ?? []), sender]);
  }
  return found;
}

/**
 * The rows of a room: `kind` and what is shown of it. A row is drawn again when its `version` changes; `key` is its own.
 *
 * `dayOf` gives the day of a time, as a text.
 */
export function rows({ timeline, talk, shown, pending, people, divider, top, denied }, mine, dayOf) {
  const all = [...shown, ...onTheWay(pending)];
  const messages = all.map(({ message }) => message);
  const read = readers(shown, people?.marks ?? {}, mine);
  const { oldest } = timeline;
  const empty = messages.length === 0;
  const rows = [{ kind: "top", key: "top", version: `${top} ${oldest} ${denied} ${empty}`, top, oldest, empty }];
  const senders = byName(messages);
  const gaps = [...timeline.gaps].sort((one, other) => one.resumed - other.resumed);
  let day;
  let last;
  const apart = (row) => {
    rows.push({ ...row, version: row.version ?? "" });
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
  for (const one of all) {
    const { message, reply } = one;
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
    last.shown = one;
    last.quoted = reply && talk.at(reply);
    last.gone = reply !== undefined && talk.isDeleted(reply);
    last.readers = read.get(message.offset) ?? [];
    rows.push(last);
  }
  tellGaps(Infinity);
  for (const row of rows) {
    if (row.kind !== "message") continue;
    const { first, ends, own, tag, message, shown, quoted, gone, readers } = row;
    row.version = [first, ends, own, tag, message.state, life(shown), !quoted, life(quoted), gone, ...readers].join(" ");
  }
  return rows;
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
