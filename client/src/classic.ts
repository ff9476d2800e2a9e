import { open } from "./connection.js";
import type { Environment } from "./environment.js";
import type { Connection, Options } from "./types.js";

// For a plain <script>: `witter.connect(…)`, in browsers without modules. There is no iteration in them, but events.
const environment = window as unknown as Environment & { witter?: { connect: typeof connect } };

function connect(url: string, options: Options = {}): Connection {
  return open(options.environment || environment, url, options);
}

environment.witter = { connect };
