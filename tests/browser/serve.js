// Pages that are not the host's.

import { once } from "node:events";
import { createServer } from "node:http";

/** Serves one page, on an address of its own. */
export async function serve(html, headers) {
  const server = createServer((_, response) => {
    response.writeHead(200, { "content-type": "text/html", ...headers }).end(html);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return server;
}
