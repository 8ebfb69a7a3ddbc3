/* A client of /v1/realtime: the line, what is said on it, and when to fall silent. */

import { Loudspeaker, Microphone } from "./audio.js";

/** Who hears when. The turn detection is the server's, but for "push". */
export const MODES = {
  full: { type: "semantic_vad" },
  half: { type: "semantic_vad" },
  push: null,
};
/** In half duplex the room goes on sounding for so long after a reply, ms. */
const REVERBERATION = 250;
/** A press shorter than this is a slip, frames of 20 ms. */
const SHORTEST_PRESS = 8;
/** Waits before a dropped line is tried again, ms. */
const RETRIES = [300, 1000, 2000, 4000];
/** Close codes with which the server means it: policy, too big, full. */
const FINAL = [1008, 1009, 1013];

export class Client {
  /**
   * @param getToken gives a promise of a token for one connection
   * @param on what the client calls:
   *   event(e): an event of the server; line(state, reason): closed, connecting, open or
   *   reconnecting; level(who, value): "me" or "reply", 0..1; silenced(item, ms, silentMs);
   *   played(item, ms, underruns); lost(): the microphone was pulled out
   */
  constructor(getToken, on) {
    this.getToken = getToken;
    this.on = on;
    this.mode = "full";
    this.held = 0; // Frames since push to talk was pressed.
    this.pressed = false;
    this.reply = null; // What plays: item, response, when it was received.
    this.responding = null; // Id of the response that the server is sending.
    this.quietFrom = 0;
    this.items = new Map(); // What was said, to tell a new line after the old one dropped.
    this.socket = null;
  }

  get isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  /** Opens the line; sound can play from then on. */
  async open() {
    if (this.isOpen) return;
    this.wanted = true;
    this.on.line("connecting");
    this.loudspeaker ??= await Loudspeaker.open((report) => this.#follow(report));
    await this.#connect();
  }

  async openMicrophone() {
    this.microphone ??= await Microphone.open(
      (pcm, level) => this.#hear(pcm, level),
      () => this.on.lost(),
    );
  }

  hangUp() {
    this.wanted = false;
    this.socket?.close(1000);
    this.#release();
    this.items.clear();
    this.on.line("closed");
  }

  #release() {
    this.microphone?.close();
    this.loudspeaker?.close();
    this.microphone = this.loudspeaker = this.reply = this.responding = null;
    this.pressed = false;
  }

  async #connect() {
    const token = await this.getToken();
    const url = new URL("v1/realtime", new URL("..", import.meta.url));
    url.protocol = url.protocol.replace("http", "ws");
    url.searchParams.set("token", token);
    const socket = new WebSocket(url);
    this.socket = socket;
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onclose = ({ reason }) => reject(new Error(reason || "The server does not answer."));
    });
    socket.onmessage = ({ data }) => this.take(JSON.parse(data));
    socket.onclose = (closed) => this.#dropped(closed);
    this.setMode(this.mode);
    this.#retell();
    this.on.line("open");
  }

  /** What was said on the line that dropped. */
  #retell() {
    for (const [id, { role, text }] of this.items) {
      if (!text) continue;
      const type = role === "user" ? "input_text" : "output_text";
      const item = { id, type: "message", role, content: [{ type, text }] };
      this.send("conversation.item.create", { item });
    }
  }

  async #dropped({ code, reason }) {
    if (!this.wanted) return;
    this.silence();
    this.responding = null;
    if (FINAL.includes(code)) return this.#giveUp(reason);
    for (const pause of RETRIES) {
      this.on.line("reconnecting");
      await new Promise((resolve) => setTimeout(resolve, pause));
      if (!this.wanted) return;
      try {
        return await this.#connect();
      } catch {
        // The next try, after a longer pause.
      }
    }
    this.#giveUp("The line dropped and the server does not answer. Press to try again.");
  }

  #giveUp(reason) {
    this.wanted = false;
    this.#release();
    this.on.line("closed", reason || "The server hung up.");
  }

  send(type, fields = {}) {
    if (this.isOpen) this.socket.send(JSON.stringify({ type, ...fields }));
  }

  // What the person does

  setMode(mode) {
    this.mode = mode;
    this.pressed = false;
    const input = { turn_detection: MODES[mode] };
    this.send("session.update", { session: { type: "realtime", audio: { input } } });
  }

  /** A typed message; it interrupts, as a spoken one does. */
  say(text) {
    this.silence();
    const item = {
      type: "message",
      role: "user",
      content: [{ type: "input_text", text }],
    };
    this.send("conversation.item.create", { item });
    this.send("response.create");
  }

  /** Stops the reply by hand, whether it sounds already or not. */
  stop() {
    this.send("response.cancel");
    this.silence();
  }

  press() {
    if (this.pressed || !this.microphone) return;
    if (this.reply || this.responding) this.stop();
    this.send("input_audio_buffer.clear");
    this.pressed = true;
    this.held = 0;
  }

  /** Returns whether something was said. */
  release() {
    if (!this.pressed) return false;
    this.pressed = false;
    if (this.held < SHORTEST_PRESS) {
      this.send("input_audio_buffer.clear");
      return false;
    }
    this.send("input_audio_buffer.commit");
    this.send("response.create");
    return true;
  }

  // Sound

  #hear(pcm, level) {
    this.on.level("me", level);
    if (this.mode === "push" && !this.pressed) return;
    this.held++;
    const deaf = this.mode === "half" && (this.reply || performance.now() < this.quietFrom);
    this.send("input_audio_buffer.append", { audio: toBase64(deaf ? pcm.fill(0) : pcm) });
  }

  #play({ delta, item_id: item, response_id: response }) {
    if (item === this.silenced) return; // It was under way when the reply was interrupted.
    if (this.reply?.item !== item) this.reply = { item, response, received: performance.now() };
    this.loudspeaker.play(item, fromBase64(delta));
  }

  /** No sound any more, at once. The worklet tells how much was heard: see `#follow`. */
  silence() {
    if (!this.reply) return;
    this.silenced = this.reply.item;
    this.loudspeaker.flush();
    this.#quiet();
  }

  #quiet() {
    this.reply = null;
    this.quietFrom = performance.now() + REVERBERATION;
    this.on.level("reply", 0);
  }

  /** What the playback worklet reports; what has not left the loudspeaker was not heard. */
  #follow(report) {
    const { type, item, ms } = report;
    const { latency, context } = this.loudspeaker ?? { latency: 0 };
    const heard = Math.max(0, ms - latency * 1000);
    if (type === "started" && this.reply?.item === item) {
      const late = report.time - context.currentTime + latency;
      const latency_ms = Math.max(0, performance.now() + late * 1000 - this.reply.received);
      this.send("parley.played", { response_id: this.reply.response, latency_ms });
    } else if (type === "playhead") {
      this.on.level("reply", report.level);
      this.send("parley.playhead", { item_id: item, audio_ms: heard });
      this.on.played(item, ms, report.underruns);
    } else if (type === "ended") {
      if (this.reply?.item === item) this.#quiet();
      this.send("parley.playhead", { item_id: item, audio_ms: ms });
      this.on.played(item, ms, report.underruns);
    } else if (type === "flushed") {
      const audio_end_ms = Math.floor(heard);
      this.send("conversation.item.truncate", { item_id: item, content_index: 0, audio_end_ms });
      this.send("conversation.item.retrieve", { item_id: item });
      this.on.silenced(item, heard, report.silentMs);
    }
  }

  // What the server says

  take(event) {
    switch (event.type) {
      case "input_audio_buffer.speech_started":
        this.silence();
        break;
      case "response.created":
        this.responding = event.response.id;
        break;
      case "response.output_audio.delta":
        this.#play(event);
        break;
      case "response.output_audio.done":
        this.loudspeaker?.end(event.item_id);
        break;
      case "response.done":
        this.responding = null;
        if (event.response.status !== "completed") this.silence();
        break;
      case "conversation.item.added":
      case "conversation.item.done":
      case "conversation.item.retrieved":
        this.#remember(event.item);
        break;
      case "conversation.item.input_audio_transcription.completed":
        this.items.set(event.item_id, { role: "user", text: event.transcript });
        break;
    }
    this.on.event(event);
  }

  #remember(item) {
    const text = textOf(item);
    if (text || !this.items.has(item.id)) this.items.set(item.id, { role: item.role, text });
  }
}

/** The words of an item. */
export function textOf(item) {
  return item.content.map((part) => part.transcript ?? part.text ?? "").join("");
}

function toBase64(pcm) {
  const bytes = new Uint8Array(pcm.buffer);
  return btoa(String.fromCharCode(...bytes));
}

/** PCM16 in base64 to floats, -1 to 1. */
function fromBase64(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return Float32Array.from(new Int16Array(bytes.buffer), (sample) => sample / 32_768);
}
