/* A client of /v1/realtime: the line, what is said on it, and when to fall silent. */

import { Loudspeaker, Microphone } from "./audio.js";
import { Line } from "./line.js";

/** In half duplex the room goes on sounding for so long after a reply, ms. */
const REVERBERATION = 250;
/** An error that names an event with such an id refuses a setting. */
export const SETTING = "setting.";
/** While more than this waits to be sent, bytes, speech goes before pictures. */
const CONGESTED = 64_000;
/** So many frames are kept, to show the one that went with a turn: those of 16 s. */
const MOST_FRAMES = 32;
/** A press shorter than this is a slip, frames of 20 ms. */
const SHORTEST_PRESS = 8;

export class Client {
  /**
   * @param getToken gives a promise of a token for one connection
   * @param on what the client calls:
   *   event(e): an event of the server; begun(resumed): a session is there, to be told of
   *   settings; line(state, reason): see `Line`; level(who, value): "me" or "reply", 0..1;
   *   heard(pcm): the server was sent this; sounded(item, pcm, at): the person heard this;
   *   played(item, ms, underruns); silenced(item, ms, silentMs);
   *   lost(): the microphone was pulled out
   */
  constructor(getToken, on) {
    this.on = on;
    this.line = new Line(getToken, {
      event: (event) => this.take(event),
      begun: (resumed) => this.#begin(resumed),
      state: (state, reason) => this.#follow(state, reason),
    });
    // Who hears when. The end of a turn is the server's business, but for "push".
    this.mode = "full"; // Or "half", or "push".
    this.patience = { type: "semantic_vad" };
    this.asking = null; // For the microphone.
    this.held = 0; // Frames since push to talk was pressed.
    this.pressed = false;
    this.reply = null; // What plays: item, response, when it was received.
    this.responding = null; // Id of the response that the server is sending.
    this.cut = null; // A reply that fell silent with the line: item, how much was heard.
    this.quietFrom = 0;
    this.items = new Map(); // What was said, to tell a session that does not know.
    this.seen = 0; // Frames that were sent.
    this.frames = new Map(); // The newest of them, by the id of the event.
  }

  get isOpen() {
    return this.line.isOpen;
  }

  /** Opens the line, on which sound can play then; see `Line.open`. */
  async open() {
    if (this.isOpen) return;
    this.loudspeaker ??= await Loudspeaker.open((report) => this.#report(report));
    await this.line.open();
  }

  async openMicrophone() {
    if (this.microphone) return;
    // A browser that is asked twice gives two, and one would stay open.
    this.asking ??= Microphone.open(
      (pcm, level) => this.#hear(pcm, level),
      () => this.on.lost(),
    );
    try {
      this.microphone = await this.asking;
    } finally {
      this.asking = null;
    }
  }

  hangUp() {
    this.line.close();
  }

  /** The next session begins with nothing said. */
  forget() {
    this.items.clear();
  }

  #follow(state, reason) {
    if (state !== "open") {
      this.silence();
      this.responding = null;
    }
    if (state === "closed") {
      this.microphone?.close();
      this.loudspeaker?.close();
      this.microphone = this.loudspeaker = null;
      this.pressed = false;
    }
    this.on.line(state, reason);
  }

  #begin(resumed) {
    this.#tellTurns();
    this.on.begun(resumed);
    if (resumed) this.#catchUp();
    else this.#retell();
    this.cut = null;
  }

  /** What the session remembers, but could not tell while the line was down. */
  #catchUp() {
    this.#truncate();
    for (const [id, { text }] of this.items) {
      if (!text) this.send("conversation.item.retrieve", { item_id: id });
    }
  }

  #retell() {
    for (const [id, { role, text }] of this.items) {
      if (!text) continue;
      const type = role === "user" ? "input_text" : "output_text";
      const item = { id, type: "message", role, content: [{ type, text }] };
      this.send("conversation.item.create", { item });
    }
  }

  send(type, fields) {
    this.line.send(type, fields);
  }

  // What is set; see SETTING for the answers

  /** Changes the session, which answers with `session.updated`. */
  update(name, session) {
    const fields = { event_id: SETTING + name, session: { type: "realtime", ...session } };
    this.send("session.update", fields);
  }

  /** Changes what the API has no field for, answered with `parley.configured`. */
  configure(name, value, more = {}) {
    this.send("parley.configure", { event_id: SETTING + name, [name]: value, ...more });
  }

  setMode(mode) {
    this.mode = mode;
    this.pressed = false;
    this.#tellTurns();
  }

  /** @param patience the `turn_detection` that the server shall use where it detects turns */
  setPatience(patience) {
    this.patience = patience;
    this.#tellTurns();
  }

  #tellTurns() {
    const turn_detection = this.mode === "push" ? null : this.patience;
    this.update("patience", { audio: { input: { turn_detection } } });
  }

  // What the person does

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

  /** Shows a picture: a JPEG in base64. */
  see(image) {
    if (this.line.backlog >= CONGESTED) return;
    const event_id = `frame.${++this.seen}`;
    this.frames.set(event_id, image);
    if (this.frames.size > MOST_FRAMES) this.frames.delete(this.frames.keys().next().value);
    this.send("parley.camera", { event_id, image });
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
    if (deaf) pcm.fill(0);
    if (this.isOpen) this.on.heard(pcm);
    this.send("input_audio_buffer.append", { audio: toBase64(pcm) });
  }

  #play({ delta, item_id: item, response_id: response }) {
    if (item === this.silenced) return; // It was under way when the reply was interrupted.
    if (this.reply?.item !== item) this.reply = { item, response, received: performance.now() };
    this.loudspeaker.play(item, fromBase64(delta));
  }

  /** No sound any more, at once. The worklet tells how much was heard: see `#report`. */
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
  #report(report) {
    const { type, item, ms, heard } = report;
    if (report.pcm) this.on.sounded(item, report.pcm, report.at);
    if (type === "started" && this.reply?.item === item) {
      const latency_ms = Math.max(0, report.at - this.reply.received);
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
      this.cut = { item, heard };
      if (this.isOpen) this.#truncate();
      this.on.silenced(item, heard, report.silentMs);
    }
  }

  /** What was not heard of a reply was not said. */
  #truncate() {
    if (!this.cut) return;
    const { item, heard } = this.cut;
    const fields = { item_id: item, content_index: 0, audio_end_ms: Math.floor(heard) };
    this.send("conversation.item.truncate", fields);
    this.send("conversation.item.retrieve", { item_id: item });
    this.cut = null;
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
      case "parley.unanswered":
        this.items.delete(event.item_id); // The model does not remember it; a new session is not told.
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
