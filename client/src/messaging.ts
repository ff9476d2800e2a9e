import type { Connection, Json, Message, Person, Presence } from "./types.js";

export type { Connection, Json, Message, Person, Presence, Reference } from "./types.js";

/** Members by names that others choose, `constructor` and `__proto__` among them. */
type Dictionary<T> = Record<string, T>;

const dictionary = <T>(): Dictionary<T> => Object.create(null) as Dictionary<T>;

// ---------------------------------------------------------------- the life of messages

/** What is shown of a message: as it was sent, and what has become of it since. */
export interface Shown {
  /** As it was sent. */
  message: Message;
  /** What it says by now. */
  body: Json;
  /** Whether that is not what it said at first. */
  edited: boolean;
  /** What people make of it, in the order in which each reaction came up: one of each person, their last. */
  reactions: Reaction[];
  /** The offset of the message that it answers. */
  reply?: number;
}

/** A reaction, and who has it, in the order of reacting. */
export interface Reaction {
  reaction: string;
  people: Person[];
}

/** What is to be shown of a channel, as far as its messages are known. */
export interface Conversation {
  /** By offset: all that are known and not deleted, the first first. */
  readonly shown: Shown[];
  /** One of them; undefined where it is not known, is deleted, or is itself an edit, a deletion or a reaction. */
  at(offset: number): Shown | undefined;
  /** Whether it is known that a message was deleted, whether or not it is known itself. */
  isDeleted(offset: number): boolean;
  /**
   * Takes messages of the channel, those that arrive and pages of history, in whichever order and however often; those of
   * other channels are passed over. Tells the offsets of what is shown otherwise than before.
   */
  take(messages: Message[]): number[];
  /** Forgets all before an offset; without one, everything: as where a gap tells that the channel began anew. */
  forget(before?: number): void;
}

/**
 * Puts together what is to be shown of a channel. The server has checked who may do what; what follows from the messages is
 * the same in whichever order they come.
 */
export function conversation(channel: string): Conversation {
  /** By offset. */
  let messages: Dictionary<Message> = dictionary();
  /** What is about a message, by its offset, and then by its own. */
  let about: Dictionary<Dictionary<Message>> = dictionary();
  /** What was made of it, until something comes. */
  let made: Dictionary<Shown> = dictionary();
  let list: Shown[] | undefined;

  // The properties of an object are in no order that all browsers keep.
  const ordered = (all: Dictionary<Message>): Message[] =>
    Object.keys(all)
      .map((offset) => all[offset]!)
      .sort((one, other) => one.offset - other.offset);

  const changes = (offset: number): Message[] =>
    ordered(about[offset] || dictionary()).filter((one) => one.offset > offset);

  const isDeleted = (offset: number): boolean => changes(offset).some(({ refers }) => refers!.kind === "delete");

  function at(offset: number): Shown | undefined {
    const message = messages[offset];
    if (!message || isDeleted(offset)) return undefined;
    return (made[offset] = made[offset] || make(message));
  }

  function make(message: Message): Shown {
    const { body, offset, refers } = message;
    const shown: Shown = { message, body, edited: false, reactions: [] };
    if (refers && refers.kind === "reply") shown.reply = refers.offset;
    changes(offset).forEach(({ body, name, refers, sender }) => {
      if (refers!.kind === "edit") {
        shown.body = body;
        shown.edited = true;
      } else {
        shown.reactions = shown.reactions
          .map(({ reaction, people }) => ({ reaction, people: people.filter((one) => one.sender !== sender) }))
          .filter(({ people }) => people.length);
        if (body !== null) react(shown.reactions, body as string, { sender, name });
      }
    });
    return shown;
  }

  function react(reactions: Reaction[], reaction: string, person: Person): void {
    const same = reactions.filter((one) => one.reaction === reaction)[0];
    if (same) same.people.push(person);
    else reactions.push({ reaction, people: [person] });
  }

  return {
    get shown() {
      list =
        list ||
        ordered(messages)
          .map(({ offset }) => at(offset)!)
          .filter((one) => one);
      return list;
    },
    at,
    isDeleted,
    take(taken) {
      const touched: Dictionary<number> = dictionary();
      taken.forEach((message) => {
        const { offset, refers } = message;
        // A kind that is not known is that of a message in its own right.
        const changes = refers && /^(edit|delete|reaction)$/.test(refers.kind);
        const target = changes ? refers.offset : offset;
        const place = changes ? (about[target] = about[target] || dictionary()) : messages;
        if (message.channel !== channel || place[offset]) return;
        place[offset] = message;
        delete made[target];
        if (messages[target]) touched[target] = target;
      });
      list = undefined;
      return Object.keys(touched).map((offset) => touched[offset]!);
    },
    forget(before) {
      list = undefined;
      if (before === undefined) {
        messages = dictionary();
        about = dictionary();
        made = dictionary();
      } else {
        [messages, about, made].forEach((all) => {
          Object.keys(all).forEach((offset) => +offset < before && delete all[offset]);
        });
      }
    },
  };
}

// ---------------------------------------------------------------- people

/** The people in a channel, as far as is known. */
export interface Room {
  channel: string;
  /** How many are here. */
  count: number;
  /** Who they are, by their `sender`; of more than 1,000 some. */
  here: Person[];
  typing: Person[];
  /** How far people have come, by their `sender`. */
  marks: Record<string, Mark>;
}

/** The last offset that somebody has read, and the last that reached them. */
export interface Mark {
  read: number;
  delivered: number;
}

/** What can be listened to, and what is told. */
export interface PeopleEvents {
  /** Somebody came. Who is here when one comes oneself is told of by `changed` alone. */
  joined: Person & { channel: string };
  left: Person & { channel: string };
  /** Behind the others: all that is known by now. */
  changed: Room;
}

/** Who is where. */
export interface People {
  /** What is known of a channel; undefined before the server has told it, and where the channel is not followed. */
  of(channel: string): Room | undefined;
  /** Calls `listener` for each event; the answer is a function that ends it. */
  on<E extends keyof PeopleEvents>(event: E, listener: (told: PeopleEvents[E]) => void): () => void;
  /** Listens to the connection no longer. */
  close(): void;
}

/** Puts together what a connection with `presence: true` tells of people. Call it at once, before anything was told. */
export function people(connection: Pick<Connection, "on" | "channels">): People {
  const rooms: Dictionary<Room> = dictionary();
  const listeners: { [E in keyof PeopleEvents]: ((told: PeopleEvents[E]) => void)[] } = {
    joined: [],
    left: [],
    changed: [],
  };

  function of(channel: string): Room | undefined {
    if (connection.channels.indexOf(channel) < 0) delete rooms[channel];
    return rooms[channel];
  }

  function tell<E extends keyof PeopleEvents>(event: E, told: PeopleEvents[E]): void {
    listeners[event].slice().forEach((listener) => listener(told));
  }

  function hear(told: Presence): void {
    const { channel, count, here, typing, marks } = told;
    const before = of(channel);
    if (!before && !here) return;
    const known = here ? undefined : before;
    const room: Room = {
      channel,
      count: count === undefined && known ? known.count : count || 0,
      here: known ? known.here : here || [],
      typing: typing || (known ? known.typing : []),
      marks: dictionary(),
    };
    [known ? known.marks : {}, marks || {}].forEach((some: Room["marks"]) => {
      Object.keys(some).forEach((sender) => (room.marks[sender] = some[sender]!));
    });
    let joined = told.joined || [];
    let left = told.left || [];
    if (here) {
      // A list that is cut tells of nobody that they came or went.
      const whole = before && count === here.length && before.count === before.here.length;
      joined = whole ? without(here, before.here) : [];
      left = whole ? without(before.here, here) : [];
    } else {
      room.here = without(room.here, left.concat(joined)).concat(joined);
      joined = without(joined, before!.here);
      left = without(before!.here, without(before!.here, left));
    }
    room.here = room.here.slice().sort((one, other) => (one.sender < other.sender ? -1 : 1));
    rooms[channel] = room;
    joined.forEach(({ sender, name }) => tell("joined", { channel, sender, name }));
    left.forEach(({ sender, name }) => tell("left", { channel, sender, name }));
    tell("changed", room);
  }

  return {
    of,
    on(event, listener) {
      const all = listeners[event] as unknown[];
      all.push(listener);
      return () => {
        const index = all.indexOf(listener);
        if (index >= 0) all.splice(index, 1);
      };
    },
    close: connection.on("presence", hear),
  };
}

/** Those of the first who are not among the others. */
function without(all: Person[], others: Person[]): Person[] {
  const gone = dictionary<boolean>();
  others.forEach(({ sender }) => (gone[sender] = true));
  return all.filter(({ sender }) => !gone[sender]);
}

// ---------------------------------------------------------------- what one tells of oneself

/** Says it again so often, in milliseconds: others are told for six seconds. */
const AGAIN = 3000;

/** Tells others that one is typing. */
export interface Typing {
  /** Something was typed: call it at each key. */
  typed(channel: string): void;
  /** It is over, as where all was deleted. */
  over(channel: string): void;
  /** A message was sent, which ends it for the others by itself. */
  sent(channel: string): void;
}

/** Tells others that one is typing, no more often than is needed. Where it cannot be told, it is not. */
export function typing({ perform }: Pick<Connection, "perform">, now: () => number = Date.now): Typing {
  const said: Dictionary<number> = dictionary();
  const say = (channel: string, over: boolean): void => {
    perform({ typing: over ? { channel, over } : { channel } }).then(undefined, () => {});
  };
  return {
    typed(channel) {
      if (now() - (said[channel] || 0) < AGAIN) return;
      said[channel] = now();
      say(channel, false);
    },
    over(channel) {
      if (now() - (said[channel] || 0) < 2 * AGAIN) say(channel, true);
      delete said[channel];
    },
    sent(channel) {
      delete said[channel];
    },
  };
}

/** Tells how far one has read. */
export interface Marks {
  /** All up to this offset is read. */
  read(channel: string, offset: number): void;
}

/** Tells the server how far one has read: the furthest of each channel, one at a time. What was not told is with the next. */
export function marks({ perform }: Pick<Connection, "perform">): Marks {
  const furthest: Dictionary<number> = dictionary();
  const told: Dictionary<number> = dictionary();
  const asking: Dictionary<boolean> = dictionary();
  function read(channel: string, offset: number): void {
    furthest[channel] = Math.max(offset, furthest[channel] || 0);
    if (asking[channel] || furthest[channel]! <= (told[channel] || 0)) return;
    asking[channel] = true;
    const mark = furthest[channel]!;
    perform({ read: { channel, offset: mark } }).then(
      () => {
        asking[channel] = false;
        told[channel] = mark;
        read(channel, mark);
      },
      () => {
        asking[channel] = false;
      },
    );
  }
  return { read };
}
