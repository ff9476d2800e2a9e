import { later } from "./environment.js";
import { type Send, method } from "./request.js";

/** Sends by `XMLHttpRequest`, for browsers without `fetch`: all of these are without modules, too. */
export const byXhr: Send | undefined = (environment, url, body, done, chunk) => {
  let seen = 0;
  let xhr: XMLHttpRequest | undefined;
  try {
    xhr = new environment.XMLHttpRequest!();
    xhr.onreadystatechange = () => {
      const whole = xhr!.readyState > 3;
      if (chunk && xhr!.readyState > 2) {
        const text = xhr!.responseText;
        chunk(text.slice(seen));
        seen = text.length;
      }
      if (whole) done(xhr!.status ? xhr!.responseText : undefined);
    };
    xhr.open(method(body), url);
    xhr.send(body);
  } catch {
    // Internet Explorer 9 throws where the address is of another origin.
    later(environment, 0, done);
  }
  return () => xhr && xhr.abort();
};
