import { open } from "./connection.js";
import { type Environment, extend } from "./environment.js";
import type { Connection, Options } from "./types.js";

// For a plain <script>: `witter.connect(…)`, in browsers without modules. There is no iteration in them, but events.
const environment = window as unknown as Environment & { witter?: { connect: typeof connect } };

/** An absolute address: there is no `URL` in these browsers. */
function resolve(url: string, href: string): string {
  if (/^\w+:/.test(url)) return url;
  const root = url[0] === "/" ? /^\w+:\/\/[^/?#]+/ : /^[^?#]*\//;
  return root.exec(href)![0] + url;
}

function connect(url: string, options: Options = {}): Connection {
  const surroundings = options.environment || environment;
  return open(surroundings, resolve(url, surroundings.location!.href), options);
}

environment.witter = extend(environment.witter || {}, { connect });
