// SockJS as it is by default, but that it logs no requests.

import { createServer } from "node:http";
import sockjs from "sockjs";
import { listen, tell } from "./listen.mjs";

const http = createServer(tell("sockjs", "SockJS"));
const readers = new Set();

const reading = sockjs.createServer({ log() {} });
reading.on("connection", (connection) => {
  readers.add(connection);
  connection.on("close", () => readers.delete(connection));
});

const publishing = sockjs.createServer({ log() {} });
publishing.on("connection", (connection) => {
  connection.on("data", (text) => {
    const { id, body } = JSON.parse(text);
    const message = JSON.stringify({ id, body });
    for (const reader of readers) reader.write(message);
    connection.write(JSON.stringify({ acknowledged: id }));
  });
});

reading.installHandlers(http, { prefix: "/read" });
publishing.installHandlers(http, { prefix: "/publish" });
listen(http);
