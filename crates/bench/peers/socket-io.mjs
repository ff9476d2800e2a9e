// Socket.IO as it is by default, the channel a room of its; with --recovery it keeps what a reader misses.

import { createServer } from "node:http";
import { Server } from "socket.io";
import { listen, tell } from "./listen.mjs";

const http = createServer(tell("socket.io", "Socket.IO"));
const recovery = process.argv.includes("--recovery");
const io = new Server(http, recovery ? { connectionStateRecovery: {} } : {});

io.on("connection", (socket) => {
  if (!socket.handshake.auth.publisher) {
    socket.join("bench");
    return;
  }
  socket.on("publish", ({ id, body }, acknowledge) => {
    io.to("bench").emit("message", { id, body });
    acknowledge({ id });
  });
});

listen(http);
