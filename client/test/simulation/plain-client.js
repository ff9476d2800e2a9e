// @ts-check

/**
 * How a client may be wrong.
 *
 * @typedef {"forgets its place" | "forgets ids" | "drops what fails" | "sends out of order" | "trusts nothing" | "keeps a timer" | "hears twice"} Flaw
 */

const BASE = "https://chat.example/witter";

/**
 * The least that reads and sends: long polling and one POST at a time. It proves the world, with each of its flaws the
 * checks.
 *
 * @param {Flaw} [flaw]
 */
export const plainClient = (flaw) =>
  /**
   * @param {string} _url
   * @param {any} options
   */
  function connect(_url, { environment, channels, token, history }) {
    const { fetch } = environment;
    /** @type {Record<string, ((told: any) => void)[]>} */
    const listeners = {};
    /** @type {any[]} */
    let unsent = [];
    /** @type {any} */
    let state = { kind: "connecting" };
    /** @type {string | undefined} */
    let cursor;
    let drawn = 0;
    const controller = new environment.AbortController();
    const { signal } = controller;
    const over = () => signal.aborted;
    const emit = (/** @type {string} */ type, /** @type {any} */ told) => listeners[type]?.forEach((listener) => listener(told));
    const become = (/** @type {string} */ kind) => {
      if (state.kind === kind) return;
      state = { kind, transport: "long-polling", reason: "" };
      emit("state", state);
    };
    const pause = () =>
      new Promise((resolve) => {
        const timer = environment.setTimeout(resolve, 1000);
        signal.addEventListener("abort", () => environment.clearTimeout(timer));
      });
    /**
     * @param {string} route
     * @param {Record<string, any>} query
     * @param {string} [body]
     */
    const ask = async (route, query, body) => {
      const given = Object.entries({ errors: "inline", token, ...query }).filter(([, value]) => value !== undefined);
      const all = given.flatMap(([name, value]) => [value].flat().map((one) => `${name}=${encodeURIComponent(one)}`));
      // A request whose answer stays away is given up, as the network's dead links would be.
      const own = new environment.AbortController();
      const stop = () => own.abort();
      const timer = environment.setTimeout(stop, 40_000);
      signal.addEventListener("abort", stop);
      try {
        const method = body === undefined ? "GET" : "POST";
        const response = await fetch(`${BASE}/${route}?${all.join("&")}`, { method, body, credentials: "omit", signal: own.signal });
        return JSON.parse(await response.text());
      } finally {
        if (flaw !== "keeps a timer") environment.clearTimeout(timer);
        signal.removeEventListener("abort", stop);
      }
    };

    const read = async () => {
      while (!over()) {
        try {
          const after = flaw === "forgets its place" ? undefined : cursor;
          const batch = await ask("long-polling", { channel: channels, after, history, wait: cursor && 25 });
          if (!batch.envelopes) throw batch;
          cursor = batch.cursor;
          become("live");
          for (const gap of batch.gaps) emit("gap", gap);
          for (const message of batch.envelopes) {
            emit("message", message);
            if (flaw === "hears twice") emit("message", message);
          }
        } catch {
          if (!over()) await pause();
        }
      }
    };

    let sending = false;
    const send = async () => {
      if (sending) return;
      sending = true;
      while (unsent.length && !over()) {
        const draft = flaw === "sends out of order" ? unsent.at(-1) : unsent[0];
        const id = flaw === "forgets ids" ? `${draft.id}-${++drawn}` : draft.id;
        try {
          const answer = await ask("publish", { channel: draft.channel }, JSON.stringify({ id, body: draft.body }));
          if (answer.error) throw answer;
          if (flaw === "trusts nothing") throw answer;
          unsent = unsent.filter((one) => one !== draft);
          const receipt = { ...answer, id: draft.id };
          draft.resolve(receipt);
          emit("stored", receipt);
        } catch {
          if (flaw === "drops what fails") unsent = unsent.filter((one) => one !== draft);
          if (!over()) await pause();
        }
      }
      sending = false;
    };

    environment.setTimeout(read, 0);
    return {
      get state() {
        return state;
      },
      get unsent() {
        return unsent.map(({ channel, id, body }) => ({ channel, id, body }));
      },
      channels,
      on: (/** @type {string} */ type, /** @type {any} */ listener) => (listeners[type] ??= []).push(listener),
      publish: (/** @type {string} */ channel, /** @type {unknown} */ body) =>
        new Promise((resolve) => {
          unsent.push({ channel, body, id: `${environment.Math.random().toString(36).slice(2)}-${++drawn}`, resolve });
          send();
        }),
      close() {
        controller.abort();
        become("closed");
      },
    };
  };
