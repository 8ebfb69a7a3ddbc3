/* The line to /v1/realtime: opened, waited for in a full room, taken up again when it drops. */

/** Waits before a dropped line is tried again, ms; together as long as a session is kept. */
const RETRIES = [300, 1000, 2000, 4000, 8000, 8000, 8000];
/** Close codes with which the server means it: policy, too big, full, idle. */
const FINAL = [1008, 1009, 1013, 4408];
/** With one of these a session is there; before, nothing can be said. */
const BEGINNINGS = ["session.created", "parley.resumed"];

/** The server hung up before a session was there. */
class Refused extends Error {
  constructor({ code, reason }) {
    super(reason);
    this.isFinal = FINAL.includes(code);
  }
}

export class Line {
  /**
   * @param getToken gives a promise of a token for one connection
   * @param on what the line calls:
   *   event(e): an event of the server;
   *   begun(resumed): a session is there, and if resumed it is the one before;
   *   state(name, reason): closed, connecting, waiting, open or reconnecting
   */
  constructor(getToken, on) {
    this.getToken = getToken;
    this.on = on;
    this.socket = null;
    this.key = null; // Takes the session up again on another connection.
    this.begun = false;
    this.opening = null;
    this.calls = 0; // Whatever belongs to an earlier call is stale.
  }

  get isOpen() {
    return this.begun && this.socket.readyState === WebSocket.OPEN;
  }

  /** Bytes that wait to be sent. */
  get backlog() {
    return this.socket?.bufferedAmount ?? 0;
  }

  /** Resolves once there is a session, or there will be none: see `isOpen`. */
  async open() {
    if (this.isOpen) return;
    if (!this.opening) {
      this.on.state("connecting");
      this.#reach([0]);
    }
    await this.opening;
  }

  /** Hangs up; the session is over. */
  close() {
    this.#end();
  }

  send(type, fields = {}) {
    if (this.isOpen) this.socket.send(JSON.stringify({ type, ...fields }));
  }

  /** Connects, at the latest after the last of these pauses (ms). */
  #reach(pauses) {
    const call = ++this.calls;
    this.opening = this.#try(pauses, () => this.calls !== call);
  }

  async #try(pauses, isStale) {
    let reason = "";
    for (const pause of pauses) {
      await new Promise((resolve) => setTimeout(resolve, pause));
      if (isStale()) return;
      try {
        await this.#connect(isStale);
        if (!isStale()) this.opening = null;
        return;
      } catch (error) {
        if (isStale()) return;
        reason = error instanceof Refused ? error.message : "";
        if (error.isFinal) break;
        if (pauses.length > 1) this.on.state("reconnecting", reason);
      }
    }
    this.#end(reason || "The server does not answer. Try again in a minute, or reload the page.");
  }

  async #connect(isStale) {
    const token = await this.getToken();
    if (isStale()) return;
    const url = new URL("v1/realtime", new URL("..", import.meta.url));
    url.protocol = url.protocol.replace("http", "ws");
    url.searchParams.set("token", token);
    if (this.key) url.searchParams.set("resume", this.key);
    const socket = new WebSocket(url);
    this.socket = socket;
    await new Promise((resolve, reject) => {
      socket.onmessage = ({ data }) => {
        if (this.socket !== socket) return;
        this.#take(JSON.parse(data));
        if (this.begun) resolve();
      };
      socket.onclose = (closed) => {
        reject(new Refused(closed));
        if (this.socket === socket && this.begun) this.#dropped(closed);
      };
    });
  }

  #take(event) {
    if (event.type === "parley.session") this.key = event.resume;
    this.on.event(event);
    if (this.begun) return;
    if (event.type === "parley.queue") this.on.state("waiting", event.message);
    if (!BEGINNINGS.includes(event.type)) return;
    this.begun = true;
    this.on.begun(event.type === "parley.resumed");
    this.on.state("open");
  }

  #dropped({ code, reason }) {
    this.begun = false;
    if (FINAL.includes(code)) return this.#end(reason);
    this.on.state("reconnecting", reason);
    this.#reach(RETRIES);
  }

  #end(reason) {
    const { socket } = this;
    this.calls++;
    this.begun = false;
    this.socket = this.key = this.opening = null;
    socket?.close(1000);
    this.on.state("closed", reason);
  }
}
