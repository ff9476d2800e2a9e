import type { Frame } from "./frame.js";
import type { Failure } from "./types.js";

/** An error with a code: the server's, or one of the library's. */
export function failure({ error, detail, retry_after }: Frame): Failure {
  const made = new Error(detail || error) as Failure;
  made.code = error!;
  if (retry_after) made.retry_after = retry_after;
  return made;
}
