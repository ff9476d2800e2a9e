// What all of the servers do: they say where they listen, and what they are.

import { readFileSync } from "node:fs";

// A port that the system chooses, or the one that the server had before.
export function listen(server) {
  server.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => {
    console.log(`listening on http://127.0.0.1:${server.address().port}`);
  });
}

// Answers what is asked outside of a peer's own paths: the first answer tells how long a start takes.
export function tell(name, title = name) {
  const file = new URL(`node_modules/${name}/package.json`, import.meta.url);
  const { version } = JSON.parse(readFileSync(file, "utf8"));
  return (request, response) => response.end(`${title} ${version} on Node.js ${process.versions.node}`);
}
