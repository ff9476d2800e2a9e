import { extend } from "./environment.js";
import { conversation, marks, people, typing } from "./messaging.js";

// For a plain <script>: `witter.conversation(…)` and the others, beside `witter.connect`.
const environment = window as unknown as { witter?: object };

environment.witter = extend(environment.witter || {}, { conversation, marks, people, typing });
