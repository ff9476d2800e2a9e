import type { Connection, Message } from "./types.js";

/** The messages from now on, one after the other, until the connection is closed. What is not taken yet is kept. */
export function messages(connection: Connection): AsyncIterator<Message> {
  const come: Message[] = [];
  const waiting: ((result: IteratorResult<Message>) => void)[] = [];
  const end: IteratorResult<Message> = { done: true, value: undefined };
  let over = connection.state.kind === "closed";
  const offs = [
    connection.on("message", (value) => {
      const next = waiting.shift();
      if (next) next({ done: false, value });
      else come.push(value);
    }),
    connection.on("state", ({ kind }) => kind === "closed" && finish()),
  ];
  function finish(): void {
    over = true;
    offs.forEach((off) => off());
    waiting.splice(0).forEach((next) => next(end));
  }
  return {
    next: () =>
      new Promise((resolve) => {
        const value = come.shift();
        if (value) resolve({ done: false, value });
        else if (over) resolve(end);
        else waiting.push(resolve);
      }),
    return() {
      finish();
      come.splice(0);
      return Promise.resolve(end);
    },
  };
}
