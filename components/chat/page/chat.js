// A room of Witter: reads by EventSource, sends by POST. What comes from others is only ever set as
// text, never as HTML.

const BASE = "/witter";
const HISTORY = 50;
/** More lines make an old phone slow; fewer and the evening's beginning is gone. */
const MOST_LINES = 1000;
/** In milliseconds. The first pause after a failure; it doubles up to the longest. */
const SHORTEST_PAUSE = 500;
const LONGEST_PAUSE = 30_000;
/** A request that hangs for longer is tried again, in milliseconds: same id, so nothing is doubled. */
const PATIENCE = 20_000;
const ROOM = /^@?[A-Za-z0-9._~-]{1,64}$/;

const $ = (id) => document.getElementById(id);

/** Full jitter: clients that failed together do not come back together. */
const pause = (failures) =>
  Math.random() * Math.min(LONGEST_PAUSE, SHORTEST_PAUSE * 2 ** failures);

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** An id that makes sending again harmless: 128 random bits. */
function drawId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The JSON of an answer; an object without anything in it where the body is not JSON. */
const json = (response) => response.json().then((value) => value ?? {}, () => ({}));

// ---------------------------------------------------------------- who

const SESSION = "witter.session";
const ENDED = "Your session has ended: say your name again to go on.";
let session = remembered();

function remembered() {
  try {
    const stored = JSON.parse(sessionStorage.getItem(SESSION));
    return typeof stored?.token === "string" ? stored : null;
  } catch {
    return null;
  }
}

function remember(value) {
  session = value;
  try {
    if (value) sessionStorage.setItem(SESSION, JSON.stringify(value));
    else sessionStorage.removeItem(SESSION);
  } catch {
    // Storage is switched off: the session lasts as long as the page.
  }
}

async function enter(name) {
  const response = await fetch(`${BASE}/session`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ name }),
    signal: AbortSignal.timeout(PATIENCE),
  });
  const answer = await json(response);
  if (response.ok) return answer;
  if (response.status === 403) throw new Error("Guests are not admitted here.");
  if (response.status === 429) throw new Error("Too many guests at once: try again in a minute.");
  throw new Error(answer.detail ?? `The server answered with status ${response.status}.`);
}

/** Asks for a name, and says why where there is a reason. */
function ask(reason) {
  const name = session?.name;
  remember(null);
  reader.close();
  if (name) $("name").value = name;
  $("talk").hidden = true;
  $("welcome").hidden = false;
  $("problem").textContent = reason;
  setState("", "");
  $("name").focus();
}

function begin() {
  $("me").textContent = session.name;
  $("welcome").hidden = true;
  $("talk").hidden = false;
  $("problem").textContent = "";
  open();
  $("text").focus();
  void outbox.run();
}

// ---------------------------------------------------------------- reading

function setState(kind, text) {
  $("state").className = kind;
  $("state").textContent = text;
}

/** Follows one room from where it was left, through every kind of interruption. */
const reader = {
  source: null,
  timer: 0,
  room: null,
  cursor: null,
  failures: 0,

  follow(room) {
    this.close();
    Object.assign(this, { room, cursor: null, failures: 0 });
    this.connect();
  },

  close() {
    this.source?.close();
    this.source = null;
    clearTimeout(this.timer);
  },

  query() {
    const query = new URLSearchParams({ channel: this.room });
    if (this.cursor) query.set("after", this.cursor);
    else query.set("history", HISTORY);
    return query;
  },

  connect() {
    this.close();
    setState("", "Connecting…");
    const query = this.query();
    // EventSource sends no headers of ours.
    query.set("token", session.token);
    const source = new EventSource(`${BASE}/sse?${query}`);
    this.source = source;
    const on = (type, handle) =>
      source.addEventListener(type, (event) => {
        if (source !== this.source) return;
        // After an interruption the browser says by itself where it was (Last-Event-ID); where it gave
        // up we say it.
        if (event.lastEventId) this.cursor = event.lastEventId;
        handle(event.data);
      });
    // A connection counts as open once something came through it: a proxy may accept and then sit on it.
    on("cursor", () => {
      this.failures = 0;
      setState("live", "Connected");
    });
    on("message", (data) => show(JSON.parse(data)));
    on("gap", () => {
      notice("Some messages are gone.");
      outbox.forget();
    });
    on("denied", () => this.refuse("This room is closed to you."));
    on("end", (data) => {
      if (JSON.parse(data).end === "reopen") this.again();
      else void this.inquire();
    });
    source.onerror = () => {
      if (source !== this.source) return;
      if (source.readyState === EventSource.CLOSED) void this.inquire();
      else setState("broken", "Reconnecting…");
    };
  },

  again() {
    this.close();
    setState("broken", "Reconnecting…");
    this.timer = setTimeout(() => this.connect(), pause(this.failures++));
  },

  resume() {
    if (this.room && session && !$("talk").hidden) this.connect();
  },

  refuse(reason) {
    this.close();
    setState("broken", "Not connected");
    $("problem").textContent = reason;
  },

  /** EventSource does not tell why it gave up; the same question asked as a poll does. */
  async inquire() {
    this.close();
    setState("broken", "Reconnecting…");
    const { room } = this;
    const asked = session;
    const query = this.query();
    query.set("limit", 1);
    const status = await fetch(`${BASE}/short-polling?${query}`, {
      headers: { authorization: `Bearer ${asked.token}` },
      signal: AbortSignal.timeout(PATIENCE),
    }).then((response) => response.status, () => 0);
    // Somebody or somewhere else by now.
    if (room !== this.room || asked !== session || this.source) return;
    if (status === 401) ask(ENDED);
    else if (status === 403) this.refuse("You may not read this room.");
    else this.again();
  },
};

function open() {
  let room = "";
  try {
    room = decodeURIComponent(location.hash.slice(1)) || "lobby";
  } catch {
    // A % that escapes nothing: no name of a room.
  }
  $("room").value = room;
  if (room === reader.room && reader.source) return;
  document.title = `${room} – Witter`;
  $("log").replaceChildren();
  $("pending").replaceChildren(...outbox.drafts.filter((d) => d.room === room).map((d) => d.line));
  senders.clear();
  $("problem").textContent = "";
  if (ROOM.test(room)) reader.follow(room);
  else {
    reader.room = null;
    reader.refuse("A room's name has 1 to 64 letters, digits or - . _ ~");
  }
}

// ---------------------------------------------------------------- showing

/** Which senders go by a name: the names are theirs to choose, the senders are not. */
const senders = new Map();

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function hue(sender) {
  let hash = 0;
  for (const char of sender) hash = (hash * 31 + char.codePointAt(0)) % 360;
  return hash;
}

/** Puts a line where it belongs; who reads further up is left there. */
function append(place, line, follow = false) {
  const scroll = $("scroll");
  const atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 64;
  $(place).append(line);
  while ($(place).childElementCount > MOST_LINES) $(place).firstElementChild.remove();
  if (atEnd || follow) scroll.scrollTop = scroll.scrollHeight;
}

const notice = (text) => append("log", element("p", text, "notice"));

function article(sender, name, text, sentAt) {
  const made = element("article");
  const header = element("header");
  const heading = element("h2");
  // A name in another direction of writing leaves the line as it is.
  heading.append(element("bdi", name));
  heading.style.setProperty("--hue", hue(sender));
  header.append(heading);
  const known = senders.get(name) ?? new Set();
  senders.set(name, known.add(sender));
  if (known.size > 1) header.append(element("small", `(${sender.slice(-4)})`));
  if (sentAt !== undefined) {
    const when = new Date(sentAt);
    const time = element("time", when.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
    time.dateTime = when.toISOString();
    time.title = when.toLocaleString();
    header.append(time);
  }
  made.append(header, element("p", text));
  return made;
}

function show({ id, sender, name, sent_at: sentAt, body }) {
  const text = typeof body?.text === "string" ? body.text : JSON.stringify(body);
  outbox.stored(id);
  append("log", article(sender, name, text, sentAt));
}

// ---------------------------------------------------------------- sending

/**
 * What is still to be stored: one at a time, in order, each with one id however often it is tried. Its
 * line stands below all others until the message comes back through the reader.
 */
const outbox = {
  drafts: [],
  lines: new Map(),
  running: false,

  add(text) {
    const id = drawId();
    const line = article(session.sender, session.name, text);
    line.classList.add("waiting");
    this.lines.set(id, line);
    this.drafts.push({ id, room: reader.room, text, line });
    append("pending", line, true);
    void this.run();
  },

  /** The message came back to us: whatever became of the answer, it is stored. */
  stored(id) {
    this.lines.get(id)?.remove();
    this.lines.delete(id);
    this.drafts = this.drafts.filter((draft) => draft.id !== id);
  },

  /** What is stored may be among the messages that are gone, and never come back. */
  forget() {
    const waiting = new Set(this.drafts.map((draft) => draft.id));
    for (const id of this.lines.keys()) if (!waiting.has(id)) this.stored(id);
  },

  clear() {
    this.drafts = [];
    this.lines.clear();
    $("pending").replaceChildren();
  },

  async run() {
    if (this.running) return;
    this.running = true;
    let failures = 0;
    while (session && this.drafts.length > 0) {
      const wait = await this.attempt(this.drafts[0], failures);
      failures = wait === null ? 0 : failures + 1;
      if (wait !== null) await sleep(wait);
    }
    this.running = false;
  },

  /** Tries once. In how many milliseconds to try again; null: no more. */
  async attempt(draft, failures) {
    const { id, room, text, line } = draft;
    const asked = session;
    let response;
    try {
      response = await fetch(`${BASE}/publish?${new URLSearchParams({ channel: room })}`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${asked.token}` },
        body: JSON.stringify({ id, body: { text } }),
        signal: AbortSignal.timeout(PATIENCE),
      });
    } catch {
      return pause(failures);
    }
    if (response.status === 429 || response.status >= 500) {
      const seconds = Number(response.headers.get("retry-after"));
      return (seconds > 0 ? seconds * 1000 : 0) + pause(failures);
    }
    if (response.status === 401) {
      if (asked === session) ask(ENDED);
      return 0;
    }
    line.classList.remove("waiting");
    this.drafts = this.drafts.filter((other) => other !== draft);
    if (!response.ok) this.fail(id, line, await json(response));
    return null;
  },

  fail(id, line, { error, detail }) {
    this.lines.delete(id);
    const dismiss = element("button", "Dismiss");
    dismiss.type = "button";
    dismiss.addEventListener("click", () => line.remove());
    const trouble = element("p", `Not sent: ${detail ?? error ?? "the server refused it"}. `, "trouble");
    trouble.setAttribute("role", "alert");
    trouble.append(dismiss);
    line.append(trouble);
  },
};

// ---------------------------------------------------------------- the page

$("enter").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = $("enter").querySelector("button");
  button.disabled = true;
  $("problem").textContent = "";
  try {
    remember(await enter($("name").value.trim()));
    begin();
  } catch (error) {
    $("problem").textContent =
      error instanceof TypeError || error.name === "TimeoutError"
        ? "The server cannot be reached: try again."
        : error.message;
  }
  button.disabled = false;
});

$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text || !reader.room) return;
  $("text").value = "";
  outbox.add(text);
});

$("text").addEventListener("keydown", (event) => {
  // While an input method composes, Enter chooses a word.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("say").requestSubmit();
});

$("go").addEventListener("submit", (event) => {
  event.preventDefault();
  location.hash = encodeURIComponent($("room").value.trim());
  if (session) $("text").focus();
});

$("leave").addEventListener("click", () => {
  outbox.clear();
  ask("");
});

addEventListener("hashchange", () => {
  if (session) open();
});

// A network that came back ends the pause; a page that comes back from the browser's cache has lost its
// connection without a word.
addEventListener("online", () => reader.resume());
addEventListener("pageshow", (event) => {
  if (event.persisted) reader.resume();
});
addEventListener("beforeunload", (event) => {
  if (outbox.drafts.length > 0) event.preventDefault();
});

if (session) begin();
else ask("");
