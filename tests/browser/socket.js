// A WebSocket to the server, and what is said on it: in node and in a page alike. Both functions are handed to
// pages as text, so each stands for itself.

/** The class of sockets, on a `WebSocket` such as browsers have it. */
export function socketOf(WebSocket) {
  return class Socket {
    #socket;
    #frames = [];
    #waiting = [];
    #asked = 0;
    #closing = null;

    /** Takes what a `WebSocket` takes besides the protocol. */
    constructor(url, options) {
      this.#socket = new WebSocket(url, "witter.v1", options);
      this.#socket.onmessage = ({ data }) => {
        this.#frames.push(JSON.parse(data));
        this.#look();
      };
      this.#socket.onclose = ({ code, reason, wasClean }) => {
        this.#closing = { code, reason, wasClean };
        this.#look();
      };
      // It says no more than the close that follows.
      this.#socket.onerror = () => {};
    }

    /** One that has its place. */
    static async open(url, options) {
      const socket = new Socket(url, options);
      await socket.next((frame) => frame.open);
      return socket;
    }

    get protocol() {
      return this.#socket.protocol;
    }

    get extensions() {
      return this.#socket.extensions;
    }

    /** The first frame that fits, of those that nobody was given. */
    next(fits) {
      return this.#until(() => {
        const at = this.#frames.findIndex(fits);
        return at >= 0 && this.#frames.splice(at, 1)[0];
      });
    }

    /** So many messages of a channel, in the order in which they came. */
    async envelopes(channel, count) {
      const envelopes = [];
      while (envelopes.length < count) {
        const { envelope } = await this.next(({ envelope }) => envelope?.channel === channel);
        envelopes.push(envelope);
      }
      return envelopes;
    }

    send(data) {
      this.#socket.send(data);
    }

    /** Asks, with the members of an object as JSON, and gives the answer. */
    ask(question) {
      const ref = ++this.#asked;
      this.send(`{"ref":${ref},${question}}`);
      return this.next((frame) => frame.ref === ref);
    }

    /** What came and nobody was given. */
    rest() {
      return this.#frames;
    }

    close() {
      this.#socket.close(1000);
      return this.closed();
    }

    /** How it was closed, once it is: code, reason, and whether both sides said so. */
    closed() {
      return this.#until(() => this.#closing);
    }

    #until(find) {
      return new Promise((resolve, reject) => {
        this.#waiting.push({ find, resolve, reject });
        this.#look();
      });
    }

    #look() {
      this.#waiting = this.#waiting.filter(({ find, resolve, reject }) => {
        const found = find();
        if (found) resolve(found);
        else if (this.#closing) reject(new Error(`closed: ${JSON.stringify(this.#closing)}`));
        else return true;
        return false;
      });
    }
  };
}

/**
 * What every client does: it says each body, all at once, and hears them; follows another channel from its last
 * message, leaves it again, and goes. Tells, as JSON, what it found.
 */
export async function converse(Socket, { url, token, channel, other, bodies, options }) {
  const socket = await Socket.open(`${url}/witter/websocket?${new URLSearchParams({ channel, token })}`, options);
  const publish = (channel, id, body) => socket.ask(`"publish":{"channel":"${channel}","id":"${id}","body":${body}}`);
  const found = { protocol: socket.protocol, extensions: socket.extensions };
  found.published = await Promise.all(bodies.map((body, at) => publish(channel, at, body)));
  found.heard = await socket.envelopes(channel, bodies.length);

  await publish(other, "a", `"early"`);
  await publish(other, "b", `"late"`);
  found.subscribed = await socket.ask(`"subscribe":{"channel":"${other}","history":1}`);
  found.followed = await socket.envelopes(other, 1);
  found.unsubscribed = await socket.ask(`"unsubscribe":{"channel":"${other}"}`);
  await publish(other, "c", `"unheard"`);
  found.again = await publish(channel, 0, bodies[0]);
  found.refused = await publish(channel, 0, `"another"`);
  await publish(channel, "last", `"last"`);
  found.last = await socket.envelopes(channel, 1);
  found.rest = socket.rest();
  found.closed = await socket.close();
  return JSON.stringify(found);
}
