import type { Frame } from "./frame.js";
import type { Failure } from "./types.js";

/** Codes that concern what was asked for, or by whom. */
export const DENIAL = /^(unauthorized|forbidden|invalid-request)$/;

/** Codes of what may be otherwise when it is tried again. */
export const PASSING = /^(unavailable|rate-limited|timeout|internal|renewed)$/;

export const ABORTED: Frame = { error: "aborted" };

/** An error with a code: the server's, or one of the library's. */
export function failure({ error, detail, retry_after }: Frame): Failure {
  const made = new Error(detail || error) as Failure;
  made.code = error!;
  if (retry_after) made.retry_after = retry_after;
  return made;
}
