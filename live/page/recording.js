/* Both voices on one time line, in this page's memory: the server records nothing.
 *
 * Positions are samples since the first session began; so are the WAV files, unless it is
 * so long ago that the oldest minutes are gone.
 */

import { RATE } from "./audio.js";

/** Sound is kept by the minute, and so many minutes of it. */
const PAGE = 60 * RATE;
export const MINUTES = 60;
/** Sound that comes later or earlier than the one before ends, by up to this, continues it. */
const JITTER = 0.3 * RATE;

/** One voice: what was not written is silence. */
class Track {
  constructor() {
    this.pages = new Map(); // By number: int16 samples.
    this.end = 0;
  }

  /**
   * Writes what belongs at `at`, or right behind what came before.
   * @returns where it begins
   */
  write(at, pcm) {
    const begin = Math.abs(at - this.end) < JITTER ? this.end : Math.max(0, at);
    for (let done = 0; done < pcm.length; ) {
      const number = Math.floor((begin + done) / PAGE);
      if (!this.pages.has(number)) this.pages.set(number, new Int16Array(PAGE));
      const offset = begin + done - number * PAGE;
      const piece = pcm.subarray(done, done + PAGE - offset);
      this.pages.get(number).set(piece, offset);
      done += piece.length;
    }
    this.end = begin + pcm.length;
    return begin;
  }

  forget(before) {
    for (const number of this.pages.keys()) if (number < before) this.pages.delete(number);
  }

  /** From the page `first` to the sample `end`, as a WAV file. */
  wav(first, end) {
    const parts = [wavHeader(end - first * PAGE)];
    for (let number = first; number * PAGE < end; number++) {
      const page = this.pages.get(number) ?? new Int16Array(PAGE);
      parts.push(page.subarray(0, end - number * PAGE));
    }
    return new Blob(parts, { type: "audio/wav" });
  }
}

export class Recording {
  /** @param clock milliseconds, monotonic */
  constructor(clock = () => performance.now()) {
    this.clock = clock;
    this.clear();
  }

  /** Forgets everything: a new conversation. */
  clear() {
    this.zero = null; // By the clock; the date beside it.
    this.began = null;
    this.you = new Track();
    this.parley = new Track();
    this.spans = new Map(); // Of items: begin, end, interrupted.
    this.#listen();
  }

  /** A session is there; if it is a new one, the server counts its samples anew. */
  begin(resumed) {
    this.zero ??= this.clock();
    this.began ??= new Date();
    if (!resumed) this.#listen();
  }

  #listen() {
    this.sent = 0;
    this.runs = []; // Of samples that were sent in one go: `sent` before, and where it begins.
  }

  /** A piece of the microphone that the server was just sent. */
  hear(pcm) {
    const begin = this.you.write(this.#at(this.clock()) - pcm.length, pcm);
    const run = this.runs.at(-1);
    if (!run || begin - run.at !== this.sent - run.sent) this.runs.push({ sent: this.sent, at: begin });
    this.sent += pcm.length;
    this.#forget();
  }

  /**
   * A piece of a reply that was heard.
   * @param time when its first sample was, by the clock
   */
  sound(item, pcm, time) {
    if (pcm.length === 0) return;
    const begin = this.parley.write(this.#at(time), pcm);
    const span = this.#span(item);
    span.begin ??= begin;
    span.end = begin + pcm.length;
    this.#forget();
  }

  interrupt(item) {
    this.#span(item).interrupted = true;
  }

  /** Notes when something was said. */
  take(event) {
    if (this.zero === null) return;
    switch (event.type) {
      case "input_audio_buffer.speech_started":
        this.#span(event.item_id).begin = this.#heardAt(event.audio_start_ms);
        break;
      case "input_audio_buffer.speech_stopped":
        this.#span(event.item_id).end = this.#heardAt(event.audio_end_ms);
        break;
      case "input_audio_buffer.committed": {
        // Pressed and let go: everything that was sent in one go.
        const span = this.#span(event.item_id);
        span.begin ??= this.runs.at(-1)?.at;
        span.end ??= this.you.end;
        break;
      }
      case "conversation.item.added":
        if (event.item.role === "user" && event.item.content[0]?.type === "input_text") {
          const span = this.#span(event.item.id);
          span.begin ??= span.end ??= this.#at(this.clock());
        }
        break;
    }
  }

  /** Both voices, equally long. */
  wavs() {
    const end = Math.max(this.you.end, this.parley.end);
    return { "you.wav": this.you.wav(this.first, end), "parley.wav": this.parley.wav(this.first, end) };
  }

  /** @param items id -> role and text, in order */
  transcript(items) {
    const told = [];
    for (const [id, { role, text }] of items) {
      if (!text) continue;
      const { begin, end, interrupted = false } = this.spans.get(id) ?? {};
      const span = { begin_ms: this.#ms(begin), end_ms: this.#ms(end) };
      told.push({ id, role, text, ...span, interrupted });
    }
    return { began: this.began, forgotten_ms: (this.first * PAGE * 1000) / RATE, items: told };
  }

  /** The oldest minute that is kept. */
  get first() {
    const now = Math.max(this.you.end, this.parley.end);
    return Math.max(0, Math.ceil(now / PAGE) - MINUTES);
  }

  #forget() {
    this.you.forget(this.first);
    this.parley.forget(this.first);
  }

  #span(item) {
    if (!this.spans.has(item)) this.spans.set(item, {});
    return this.spans.get(item);
  }

  #at(time) {
    return Math.round(((time - this.zero) * RATE) / 1000);
  }

  /** Where a sample is that the server counted, in milliseconds. */
  #heardAt(ms) {
    const sample = (ms * RATE) / 1000;
    const run = this.runs.findLast(({ sent }) => sent <= sample) ?? this.runs[0];
    return run && run.at + sample - run.sent;
  }

  /** On the time line of the files; null where it is not known, or forgotten. */
  #ms(sample) {
    const ms = Math.round(((sample - this.first * PAGE) * 1000) / RATE);
    return ms >= 0 ? ms : null;
  }
}

/** RIFF header of so many samples: PCM, 16 bits, mono. */
function wavHeader(samples) {
  const view = new DataView(new ArrayBuffer(44));
  const put = (at, text) => [...text].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  put(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples, true);
  put(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, RATE, true);
  view.setUint32(28, 2 * RATE, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  put(36, "data");
  view.setUint32(40, 2 * samples, true);
  return view.buffer;
}
