// Ports of the loopback interface, for programs that take no free one by themselves.

import { once } from "node:events";
import net from "node:net";

/** An address on which nobody listens now. */
export async function free() {
  const server = net.createServer();
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address();
  await once(server.close(), "close");
  return `127.0.0.1:${port}`;
}

/** Whether somebody listens. */
export async function answers(address) {
  const [host, port] = address.split(":");
  const socket = net.connect(Number(port), host);
  const answered = await once(socket, "connect").then(() => true, () => false);
  socket.destroy();
  return answered;
}
