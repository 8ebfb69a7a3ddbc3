/* The loudspeaker: plays a reply without gaps, says how far it is, falls silent at once.
 *
 * One reply plays at a time; sound of another one takes its place. The context runs at the
 * rate of the samples (24 kHz). Times are those of the context's clock.
 *
 * From the page:
 *   {type: "audio", item, pcm: Float32Array}   more of a reply; transfer its buffer
 *   {type: "end", item}                        there is no more of it
 *   {type: "flush", at}                        silence; `at`: context.currentTime at the sending
 *
 * To the page; `item` is whose sound it is, `ms` how much of it was played:
 *   {type: "started", item, ms, time}          its first sample goes out at `time`, s
 *   {type: "playhead", item, ms, time, pcm, level, underruns}
 *                                              every 100 ms while it plays: what went out since
 *                                              the last report (int16, from `time` on), its RMS,
 *                                              and how often sound was due but not there
 *   {type: "ended", item, ms, time, pcm, underruns}
 *                                              all of it was played
 *   {type: "flushed", item, ms, time, pcm, silentMs}
 *                                              answers a flush that found something to silence:
 *                                              ms from `at` to silence
 */

/** An interruption is faded over this time, or it would click. Less than one render quantum. */
const FADE = Math.round(sampleRate * 0.005);
const REPORT = Math.round(sampleRate * 0.1);
const QUANTUM = 128;
/** Seconds of sound there is room for at first; grows when a server sends further ahead. */
const ROOM = 4;

/** First in, first out. */
class Ring {
  constructor(size) {
    this.samples = new Float32Array(size);
    this.clear();
  }

  clear() {
    this.head = 0;
    this.length = 0;
  }

  push(given) {
    while (this.length + given.length > this.samples.length) this.grow();
    const tail = (this.head + this.length) % this.samples.length;
    const fits = Math.min(given.length, this.samples.length - tail);
    this.samples.set(given.subarray(0, fits), tail);
    this.samples.set(given.subarray(fits), 0);
    this.length += given.length;
  }

  /** Fills `out` as far as there is sound; returns how many samples that was. */
  pull(out) {
    const count = Math.min(out.length, this.length);
    for (let index = 0; index < count; index++) {
      out[index] = this.samples[(this.head + index) % this.samples.length];
    }
    this.head = (this.head + count) % this.samples.length;
    this.length -= count;
    return count;
  }

  grow() {
    const larger = new Float32Array(2 * this.samples.length);
    const length = this.pull(larger);
    this.samples = larger;
    this.head = 0;
    this.length = length;
  }
}

class Playback extends AudioWorkletProcessor {
  constructor() {
    super();
    this.ring = new Ring(ROOM * sampleRate);
    this.flushing = null;
    this.begin(null);
    this.port.onmessage = ({ data }) => this[data.type](data);
  }

  /** Makes `item` the reply that plays. */
  begin(item) {
    this.item = item;
    this.ring.clear();
    this.played = 0;
    this.complete = false;
    this.dry = false;
    this.underruns = 0;
    this.beginReport();
  }

  beginReport() {
    this.tape = new Int16Array(REPORT + QUANTUM);
    this.unreported = 0;
    this.power = 0;
  }

  audio({ item, pcm }) {
    if (this.flushing) this.pending = [...(this.pending ?? []), { item, pcm }];
    else {
      if (item !== this.item) this.begin(item);
      this.ring.push(pcm);
    }
  }

  end({ item }) {
    if (item === this.item) this.complete = true;
  }

  flush({ at }) {
    if (this.item !== null) this.flushing = { at };
  }

  process(_, [[out]]) {
    if (this.item === null) return true;
    const count = this.ring.pull(out);
    if (this.flushing) this.silence(out);
    else this.advance(out, count);
    return true;
  }

  advance(out, count) {
    if (this.played === 0 && count > 0) this.report("started", { time: currentTime });
    this.played += count;
    this.keep(out);
    if (this.complete && this.ring.length === 0) {
      this.reportSound("ended", { underruns: this.underruns });
      this.begin(null);
      return;
    }
    const dry = this.played > 0 && count < out.length;
    if (dry && !this.dry) this.underruns++;
    this.dry = dry;
    if (this.unreported < REPORT) return;
    const level = Math.sqrt(this.power / this.unreported);
    this.reportSound("playhead", { level, underruns: this.underruns });
    this.beginReport();
  }

  /** The last few samples, fading; then nothing. */
  silence(out) {
    for (let index = 0; index < out.length; index++) out[index] *= Math.max(0, 1 - index / FADE);
    this.keep(out);
    const silentAt = currentTime + FADE / sampleRate;
    this.reportSound("flushed", { silentMs: (silentAt - this.flushing.at) * 1000 });
    this.flushing = null;
    this.begin(null);
    for (const waiting of this.pending ?? []) this.audio(waiting);
    this.pending = null;
  }

  /** Notes what goes out. */
  keep(out) {
    if (this.unreported === 0) this.since = currentTime;
    for (let index = 0; index < out.length; index++) {
      this.power += out[index] * out[index];
      this.tape[this.unreported++] = Math.round(out[index] * 32_767);
    }
  }

  reportSound(type, more) {
    const pcm = this.tape.slice(0, this.unreported);
    this.report(type, { time: this.since, pcm, ...more }, [pcm.buffer]);
  }

  report(type, more, transfer = []) {
    const ms = (this.played / sampleRate) * 1000;
    this.port.postMessage({ type, item: this.item, ms, ...more }, transfer);
  }
}

registerProcessor("parley-playback", Playback);
