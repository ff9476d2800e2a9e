// The page: who comes in, which room is shown, and what goes where.

import "./trusted.js";
import { connect } from "/witter/client.js";
import { conversation, marks, people, typing } from "/witter/messaging.js";
import { Actions } from "./actions.js";
import { Chat, Watcher } from "./chat.js";
import { Composer } from "./composer.js";
import { ConnectionView, chosenTransports } from "./connection.js";
import { open } from "./dialogs.js";
import { $ } from "./dom.js";
import { emojiPicker } from "./emoji.js";
import { here } from "./kept.js";
import { reason } from "./message.js";
import { People } from "./people.js";
import { ROOM } from "./room.js";
import { settings } from "./settings.js";
import { shortcuts } from "./shortcuts.js";
import { Side } from "./side.js";
import { Stream } from "./stream.js";
import { textOf } from "./text.js";
import { chosenTheme, paint } from "./theme.js";
import { announce, chosenLanguage, onLanguage, say, sayIf, speak } from "./words.js";

const LOBBY = "lobby";

/** The client library, and what it makes of messages and people. */
const library = { connect, conversation, marks, people, typing };

let chat, room;
const go = (name) => (location.hash = name);
const crowd = new People(go);
const side = new Side(go);
const composer = new Composer({
  send(text, refers) {
    chat.send(room, text, refers);
    if (refers?.kind !== "edit") stream.toEnd();
  },
  typed: (text) => chat.typed(room, text),
  last: editLast,
});
const actions = new Actions({
  reply: (shown) => composer.about("reply", shown),
  edit: (shown) => composer.about("edit", shown),
});
const stream = new Stream((shown) => actions.open(chat, room, shown, (person) => crowd.turn(person)));
const connection = new ConnectionView((transports) => chat.use(transports));

class Page extends Watcher {
  changed(changed) {
    if (!room) return;
    if (changed === room) {
      stream.update();
      $("where").textContent = room.label;
      $("say").hidden = room.denied !== undefined;
    }
    side.update();
    title();
  }

  news(told, message) {
    const own = chat.mine.has(message.sender);
    if (told === room && !own) announce(say("said", { name: message.name, text: textOf(message.body) }));
  }

  people(told) {
    if (told === room) crowd.update();
  }

  came(told, { name }) {
    crowd.pass(told, say("came", { name }));
  }

  wentAway(told, { name }) {
    crowd.pass(told, say("wentAway", { name }));
  }

  rooms() {
    if (!room) return;
    side.update();
    stream.enable();
    $("leave").hidden = chat.rooms.size < 2;
  }

  missed(told) {
    if (told === room) announce(say("gapUnknown"));
  }

  refused(failed) {
    announce(reason(failed));
  }

  state(state) {
    connection.show(state);
  }

  closed(code) {
    const name = chat.name;
    ask(name, sayIf(`refused-${code}`) ?? say("refused", { code }));
  }

  attends(asked) {
    return stream.attends(asked);
  }

  looksBack(asked) {
    return stream.looksBack(asked);
  }
}

function title() {
  const { unread } = chat;
  document.title = `${unread ? `(${unread}) ` : ""}${room.label} – Witter`;
}

// ---------------------------------------------------------------- coming in and going

/** Asks for a name, and says why where there is a reason. */
function ask(name, why) {
  here.write("name", undefined);
  chat = room = undefined;
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  $("chat").hidden = true;
  $("welcome").hidden = false;
  $("name").value = name;
  $("refusal").textContent = why;
  document.title = "Witter";
  $("name").focus();
}

function enter(name) {
  here.write("name", name);
  $("welcome").hidden = true;
  $("chat").hidden = false;
  $("refusal").textContent = "";
  connection.start();
  const rooms = here.read("rooms", []);
  const wanted = named();
  if (wanted && !rooms.some(({ name }) => name === wanted)) rooms.push({ name: wanted });
  if (rooms.length === 0) rooms.push({ name: LOBBY });
  chat = new Chat(library, { name, rooms, transports: chosenTransports() }, here, new Page());
  turn();
}

/** Forgets who one was, and where. */
function leave() {
  const { name } = chat;
  chat.leave();
  here.forget();
  composer.forgetAll();
  ask(name, "");
}

$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("name").value.trim();
  if (name) enter(name);
  else ask("", say("nameLimit"));
});

// What is kept lasts over a reload, but not when the window is closed.
addEventListener("beforeunload", (event) => {
  if (chat?.sending) event.preventDefault();
});

// ---------------------------------------------------------------- rooms

/** The room that the address names; undefined where that cannot be one. */
function named() {
  let name = location.hash.slice(1) || LOBBY;
  try {
    name = decodeURIComponent(name);
  } catch {
    // A % that escapes nothing is part of no name either.
  }
  return ROOM.test(name) ? name : undefined;
}

/** Turns to the room that the address names; where that cannot be one, stays. */
function turn() {
  const name = named();
  if (name) return show(name);
  const refused = location.hash.slice(1);
  if (!room) show(chat.rooms.keys().next().value);
  history.replaceState(null, "", `#${room.name}`);
  side.refuse(refused);
}

function show(name) {
  room = chat.enter(name);
  room.open(chat.mine);
  $("where").textContent = room.label;
  $("leave").hidden = chat.rooms.size < 2;
  $("say").hidden = room.denied !== undefined;
  side.show(chat, room);
  composer.show(room);
  crowd.show(chat, room);
  stream.show(chat, room);
  title();
}

addEventListener("hashchange", () => {
  if (chat) turn();
});

/** Goes to the room so many places further on, around the end. */
function step(by) {
  const rooms = [...chat.rooms.values()];
  location.hash = rooms.at((rooms.indexOf(room) + by) % rooms.length).name;
}

/** Takes one's last message to edit; tells whether there is one. */
function editLast() {
  const own = ({ message, body }) => chat.mine.has(message.sender) && typeof body?.text === "string";
  const shown = chat.more.able && room.shown.findLast(own);
  if (shown) composer.about("edit", shown);
  return Boolean(shown);
}

function nextUnread() {
  const rooms = [...chat.rooms.values()];
  const at = rooms.indexOf(room);
  const next = [...rooms.slice(at + 1), ...rooms.slice(0, at)].find((one) => one.unread(chat.mine) > 0);
  if (next) location.hash = next.name;
}

function goOut() {
  const left = room;
  const rooms = [...chat.rooms.values()];
  const next = rooms[rooms.indexOf(left) + 1] ?? rooms.at(-2);
  chat.exit(left);
  composer.forget(left);
  announce(say("leftRoom", { room: left.label }));
  location.hash = next.name;
}

$("leave").addEventListener("click", () => {
  if (!room.name.startsWith("@room~")) return goOut();
  // Nobody gets back in alone.
  $("out-title").textContent = say("out", { room: room.label });
  open("out");
});
$("out-really").addEventListener("click", () => {
  $("out").close();
  goOut();
});

// ---------------------------------------------------------------- the rest

$("open-new").addEventListener("click", () => {
  $("title").value = $("new-told").textContent = "";
  open("new");
});
$("new-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const title = $("title").value.trim();
  if (title) void crowd.create(title, $("new-told"));
  else $("new-told").textContent = say("titleLimit");
});

const emoji = emojiPicker((sign) => composer.insert(sign));

$("chip").addEventListener("click", () => open("connection"));
$("open-keys").addEventListener("click", () => open("keys"));
$("open-settings").addEventListener("click", () => {
  $("somebody").textContent = say("somebody", { name: chat.name });
  open("settings");
});

shortcuts({
  step,
  nextUnread,
  join() {
    side.open();
    $("room").focus();
  },
  emoji,
  keys: () => open("keys"),
  latest() {
    stream.toEnd();
    $("text").focus();
  },
});

onLanguage(() => {
  if (chat) $("somebody").textContent = say("somebody", { name: chat.name });
});
settings(leave);
paint(chosenTheme());
speak(chosenLanguage());

$("unable").remove();
const name = here.read("name");
if (name) enter(name);
else ask("", "");
