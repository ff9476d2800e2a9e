// Bare WebSockets as npm's `ws` has them by default: no resuming, no other transport. What Node.js can do at most.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";
import { listen, tell } from "./listen.mjs";

const http = createServer(tell("ws"));
const sockets = new WebSocketServer({ server: http });
const readers = new Set();

sockets.on("connection", (socket, request) => {
  socket.on("error", () => socket.terminate());
  if (request.url === "/read") {
    readers.add(socket);
    socket.on("close", () => readers.delete(socket));
    return;
  }
  socket.on("message", (text) => {
    const { id, body } = JSON.parse(text);
    const message = JSON.stringify({ id, body });
    for (const reader of readers) reader.send(message);
    socket.send(JSON.stringify({ acknowledged: id }));
  });
});

listen(http);
