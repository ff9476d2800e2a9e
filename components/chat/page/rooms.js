// What is asked of the server beside messages: rooms, conversations of two, and those who keep order. Knows no page.

/** The most rooms that are followed at once: the server lets one follow 64 channels, and one's own is among them. */
export const MOST_ROOMS = 63;

/** How long notices are waited for, in milliseconds: several that come together are one question. */
const TOGETHER = 200;

/** One's rooms as the server knows them. Nothing is asked, and nothing offered, where the server knows of none. */
export class Rooms {
  /** Whether the server knows of rooms, and of messages about others. */
  able = false;
  /** `{ channel, title, by }`: what one was invited to. */
  invited = [];
  /** What those are called who invited one while one was here. */
  names = new Map();
  /** The channel in which one is told what concerns oneself. */
  own;
  #connection;
  #kept;
  #found;
  #changed;
  #due;
  #asking = false;

  /** `found` takes a room of one's own, `changed` is called when the list has changed. */
  constructor(connection, kept, { found, changed }) {
    this.#connection = connection;
    this.#kept = kept;
    this.#found = found;
    this.#changed = changed;
  }

  /** Asks what one is in. Where the answer stays away, the next call asks again. */
  async look() {
    if (this.#asking) return;
    this.#asking = true;
    try {
      const { rooms, invited } = await this.perform("rooms", {});
      this.able = true;
      if (!this.own) {
        this.own = (await this.perform("me", {})).channel;
        this.#connection.subscribe(this.own).catch(() => {});
      }
      this.invited = invited ?? [];
      const shut = this.#shut;
      for (const room of rooms.slice(-MOST_ROOMS)) {
        if (!shut.includes(room.channel) || room.unread > 0) this.#found(room);
      }
    } catch {
      // An older server has none, and one that is away will be asked again.
    }
    this.#asking = false;
    this.#changed();
  }

  /** Something that concerns oneself was told. */
  notice(told) {
    if (told?.invited) this.names.set(told.invited.by, told.invited.name);
    clearTimeout(this.#due);
    this.#due = setTimeout(() => void this.look(), TOGETHER);
  }

  perform(verb, about) {
    return this.#connection.perform({ [verb]: about });
  }

  /** Begins to talk with somebody; the channel. The server may not have heard their name. */
  async direct(person) {
    const { sender } = person;
    const { channel, name } = await this.perform("direct", { sender });
    this.#open(channel);
    this.#found({ channel, with: { sender, name: name === sender ? person.name : name } });
    return channel;
  }

  /** Makes a private room; its channel. */
  async create(title) {
    const room = await this.perform("create", { private: true, title });
    this.#found(room);
    return room.channel;
  }

  async join(channel) {
    const room = await this.perform("join", { channel });
    this.#without(channel);
    this.#found(room);
  }

  /** Goes out of a room for good, or declines an invitation. A conversation of two comes back when something is said. */
  leave(channel) {
    this.#without(channel);
    if (/^@direct~/.test(channel)) this.#kept.write("shut", [...this.#shut, channel]);
    else if (/^@room~/.test(channel)) this.perform("leave", { channel }).catch(() => {});
  }

  get #shut() {
    return this.#kept.read("shut", []);
  }

  #open(channel) {
    this.#kept.write("shut", this.#shut.filter((one) => one !== channel));
  }

  #without(channel) {
    this.invited = this.invited.filter((one) => one.channel !== channel);
    this.#changed();
  }

  end() {
    clearTimeout(this.#due);
  }
}
