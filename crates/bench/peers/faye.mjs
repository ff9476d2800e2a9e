// Faye as it is by default: it has channels, ids and acknowledgements of its own.

import { createServer } from "node:http";
import faye from "faye";
import { listen, tell } from "./listen.mjs";

const http = createServer(tell("faye", "Faye"));
new faye.NodeAdapter({ mount: "/faye" }).attach(http);
listen(http);
