// Hands each connection to the next of many servers, whatever is said on it: TLS is between client and server.

import { once } from "node:events";
import net from "node:net";

export class Balancer {
  #server;
  #open = new Set();
  address;

  /** Listens on an address, whose port 0 takes a free one. */
  static async start(address, servers) {
    const balancer = new Balancer();
    let turn = 0;
    balancer.#server = net.createServer((client) => {
      const [host, port] = servers[turn++ % servers.length].split(":");
      const server = net.connect(Number(port), host);
      for (const [from, to] of [[client, server], [server, client]]) {
        balancer.#open.add(from);
        from.setNoDelay(true).pipe(to);
        // Whichever ends or breaks first, both ends are closed.
        from.on("error", () => from.destroy()).on("close", () => {
          balancer.#open.delete(from);
          to.destroy();
        });
      }
    });
    const [host, port] = address.split(":");
    await once(balancer.#server.listen(Number(port), host), "listening");
    balancer.address = `127.0.0.1:${balancer.#server.address().port}`;
    return balancer;
  }

  /** Ends what is open, and listens no more. */
  async stop() {
    const closed = once(this.#server.close(), "close");
    this.#open.forEach((socket) => socket.destroy());
    await closed;
  }
}
