// A page's code that uses all there is: a member that is not named here does not compile.

import { connect } from "witter";
import type {
  Connection,
  Denial,
  Environment,
  Events,
  Failure,
  Gap,
  History,
  Json,
  Keeper,
  Message,
  Options,
  Person,
  Presence,
  Receipt,
  Reference,
  Session,
  State,
  Transport,
  Unsent,
} from "witter";
import { conversation, marks, people, typing } from "witter/messaging";
import type {
  Conversation,
  Mark,
  Marks,
  People,
  PeopleEvents,
  Reaction,
  Room,
  Shown,
  Typing,
} from "witter/messaging";

const environment: Environment = globalThis;
const storage: Keeper = sessionStorage;

const transports: { [name in Transport]: true } = {
  websocket: true,
  sse: true,
  "xhr-streaming": true,
  "long-polling": true,
  "short-polling": true,
  htmlfile: true,
  "jsonp-polling": true,
};

const options: Required<Options> = {
  channels: ["lobby"],
  history: 50,
  token: () => Promise.resolve("credential"),
  guest: "Ann",
  presence: true,
  transports: Object.keys(transports) as Transport[],
  storage,
  account: "ann",
  share: false,
  environment,
};

const connection: Connection = connect("https://chat.example/witter", options);
connect("/witter", { token: "credential" });
connect("/witter");

const listeners: { [event in keyof Events]: (told: Events[event]) => void } = {
  message: ({ channel, offset, id, sender, name, sent_at, refers, body }: Message) =>
    show(channel, offset + 1, id, sender, name, new Date(sent_at), refers?.kind, body),
  state: (state) => show(describe(state)),
  gap: ({ channel, after, resumed }: Gap) => show(channel, resumed - after),
  denied: ({ channel, error, detail }: Denial) => show(channel, error, detail),
  presence: ({ channel, count, here, joined, left, typing, marks }: Presence) => {
    const names = (people?: Person[]): string => (people ?? []).map(({ sender, name }) => sender + name).join(", ");
    show(channel, count, names(here), names(joined), names(left), names(typing), marks?.ann?.read, marks?.ann?.delivered);
  },
  session: ({ token, sender, name, expires_at }: Session) => show(token, sender, name, new Date(expires_at)),
  stored: ({ channel, offset, id }: Receipt) => show(channel, offset + 1, id),
  failed: ({ channel, id, refers, body, error }) => show(channel, id, refers?.offset, body, error.code),
};

/** Compiles only where every kind of state is known. */
function describe(state: State): string {
  switch (state.kind) {
    case "connecting":
    case "offline":
      return state.kind;
    case "live":
    case "fallback":
      return `${state.kind} by ${state.transport}`;
    case "closed":
      return state.reason;
  }
}

function show(...what: unknown[]): void {
  console.log(...what);
}

const members: { [member in keyof Connection]: () => unknown } = {
  state: () => describe(connection.state),
  session: () => connection.session?.name,
  channels: () => connection.channels.join(", "),
  unsent: () => connection.unsent.map(({ channel, id, refers, body }: Unsent) => show(channel, id, refers?.kind, body)),
  on: () => {
    const end: () => void = connection.on("message", listeners.message);
    end();
    connection.on("state", listeners.state);
    connection.on("gap", listeners.gap);
    connection.on("denied", listeners.denied);
    connection.on("presence", listeners.presence);
    connection.on("session", listeners.session);
    connection.on("stored", listeners.stored);
    connection.on("failed", listeners.failed);
  },
  subscribe: async () => {
    await connection.subscribe("attic");
    await connection.subscribe("cellar", { history: 10, signal: new AbortController().signal });
  },
  unsubscribe: () => connection.unsubscribe("attic"),
  publish: async () => {
    const body: Json = { text: "hello", tags: [1, true, null] };
    try {
      const { offset }: Receipt = await connection.publish("lobby", body);
      show(offset + 1);
      const refers: Reference = { kind: "reply", offset };
      const signal = new AbortController().signal;
      await connection.publish("lobby", "again", { id: "0123456789abcdef", refers, signal });
    } catch (error) {
      const { code, message, retry_after } = error as Failure;
      show(code, message, retry_after ?? 0);
    }
  },
  history: async () => {
    const { messages, before }: History = await connection.history("lobby", { limit: 20 });
    const signal = new AbortController().signal;
    return before === undefined ? messages : connection.history("lobby", { before, signal });
  },
  perform: async () => {
    const { sender } = await connection.perform({ me: {} }, { signal: new AbortController().signal });
    return sender;
  },
  use: () => connection.use(["sse", "long-polling"]),
  close: () => connection.close(),
  [Symbol.asyncIterator]: async () => {
    for await (const { body } of connection) show(body);
  },
};
Object.values(members).forEach((use) => use());

const shown = ({ message, body, edited, reactions, reply }: Shown): void => {
  show(message.name, body, edited, reply ?? 0);
  reactions.forEach(({ reaction, people }: Reaction) => show(reaction, people.map(({ name }: Person) => name).join()));
};
const lobby: Conversation = conversation("lobby");
const talk: { [member in keyof Conversation]: () => unknown } = {
  shown: () => lobby.shown.forEach(shown),
  at: () => lobby.at(1)?.reply,
  isDeleted: () => !lobby.isDeleted(1),
  take: () => connection.on("message", (message) => lobby.take([message]).map((offset) => offset + 1)),
  forget: () => [lobby.forget(), lobby.forget(100)],
};
Object.values(talk).forEach((use) => use());

const crowd: People = people(connection);
const told: { [event in keyof PeopleEvents]: (told: PeopleEvents[event]) => void } = {
  joined: ({ channel, sender, name }) => show(channel, sender, name),
  left: ({ channel, sender, name }) => show(channel, sender, name),
  changed: ({ channel, count, here, typing, marks }: Room) => {
    const mark: Mark | undefined = marks.ann;
    show(channel, count + here.length, typing[0]?.name, mark?.read, mark?.delivered);
  },
};
const off: () => void = crowd.on("joined", told.joined);
crowd.on("left", told.left);
crowd.on("changed", told.changed);
off();
show(crowd.of("lobby")?.count ?? 0);
crowd.close();

const keys: Typing = typing(connection);
keys.typed("lobby");
keys.over("lobby");
keys.sent("lobby");
typing(connection, () => 0);
const place: Marks = marks(connection);
place.read("lobby", 1);

// @ts-expect-error: nobody knows where the server is.
connect();
// @ts-expect-error: there is no such transport.
connect("/witter", { transports: ["carrier-pigeon"] });
// @ts-expect-error: there is no such option.
connect("/witter", { room: "lobby" });
// @ts-expect-error: there is no such event.
connection.on("mesage", show);
// @ts-expect-error: a function is no JSON.
void connection.publish("lobby", { text: () => "hello" });
// @ts-expect-error: a conversation is one of a channel.
conversation();
// @ts-expect-error: what one is told is not to be changed.
connection.state = { kind: "live", transport: "sse" };
