// Programs as the system has them.

import { accessSync, constants } from "node:fs";
import path from "node:path";

/**
 * Where a program is, by the first of its names that there is. Debian keeps some in a folder that not every user's
 * `PATH` names.
 */
export function find(...names) {
  for (const name of names) {
    for (const folder of [...(process.env.PATH ?? "").split(path.delimiter), "/usr/sbin"]) {
      const file = path.join(folder, name);
      try {
        accessSync(file, constants.X_OK);
        return file;
      } catch {
        // It may be in the next.
      }
    }
  }
  throw new Error(`${names[0]} is not installed`);
}
