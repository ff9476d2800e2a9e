// First, so that it compresses better.
import { messages } from "./iteration.js";
import { open } from "./connection.js";
import type { Environment } from "./environment.js";
import type { Connection, Options } from "./types.js";

export type { Environment } from "./environment.js";
export type * from "./types.js";

/**
 * Connects to the routes at an address, such as `https://chat.example/witter` or `/witter`, and stays connected
 * until `close()`.
 */
export function connect(url: string, options: Options = {}): Connection {
  // The first browsers that had modules did not have the name.
  const global = typeof globalThis === "object" ? globalThis : self;
  const environment = options.environment || (global as unknown as Environment);
  const { location } = environment;
  const connection = open(environment, new URL(url, location && location.href).href, options);
  connection[Symbol.asyncIterator] = () => messages(connection);
  return connection;
}
