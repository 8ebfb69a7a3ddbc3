/* The microphone as 20 ms frames of PCM16, mono, 24 kHz.
 *
 * To the page:
 *   {pcm: ArrayBuffer, level}   a frame: 480 samples, int16 in the machine's order (little-endian
 *                               wherever browsers run), transferred; level: its RMS, 0 to 1
 * From the page: nothing. The processor ends with its context.
 *
 * A context that runs at 24 kHz is passed through; any other rate is resampled with
 * a windowed sinc (Hann, 12 zero crossings a side), so that nothing above 12 kHz folds back.
 */

const RATE = 24_000;
const FRAME = RATE / 50;
/** Zero crossings of the sinc on each side: 15 kHz at 48 kHz comes out 54 dB weaker. */
const LOBES = 12;

/** Resamples a stream, block by block, by any ratio. */
class Resampler {
  constructor(from, to) {
    this.step = from / to;
    // Where less comes out than goes in, the filter is as much wider.
    this.scale = Math.min(1, to / from);
    this.reach = Math.ceil(LOBES / this.scale);
    this.tape = new Float32Array(2 * this.reach);
    this.at = this.reach; // Of the next output sample, on the tape.
  }

  /** Calls `put` with every output sample that `block` completes. */
  push(block, put) {
    const tape = new Float32Array(this.tape.length + block.length);
    tape.set(this.tape);
    tape.set(block, this.tape.length);
    for (; this.at + this.reach < tape.length; this.at += this.step) put(this.value(tape));
    const done = Math.floor(this.at) - this.reach;
    this.tape = tape.slice(done);
    this.at -= done;
  }

  value(tape) {
    let sum = 0;
    const first = Math.ceil(this.at - this.reach);
    const last = Math.floor(this.at + this.reach);
    for (let index = Math.max(0, first); index <= last; index++) {
      const distance = index - this.at;
      const x = Math.PI * distance * this.scale;
      const sinc = x === 0 ? 1 : Math.sin(x) / x;
      const hann = 0.5 + 0.5 * Math.cos((Math.PI * distance) / this.reach);
      sum += tape[index] * sinc * hann * this.scale;
    }
    return sum;
  }
}

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = sampleRate === RATE ? null : new Resampler(sampleRate, RATE);
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
    this.power = 0;
  }

  process([channels]) {
    if (channels.length === 0) return true; // The track has not begun, or is over.
    const mono = channels.length === 1 ? channels[0] : mixed(channels);
    if (this.resampler) this.resampler.push(mono, (sample) => this.put(sample));
    else for (const sample of mono) this.put(sample);
    return true;
  }

  put(sample) {
    const clipped = Math.max(-1, Math.min(1, sample));
    this.frame[this.filled++] = Math.round(clipped * 32_767);
    this.power += clipped * clipped;
    if (this.filled < FRAME) return;
    const pcm = this.frame.buffer;
    this.port.postMessage({ pcm, level: Math.sqrt(this.power / FRAME) }, [pcm]);
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
    this.power = 0;
  }
}

function mixed(channels) {
  return channels[0].map(
    (_, index) => channels.reduce((sum, channel) => sum + channel[index], 0) / channels.length,
  );
}

registerProcessor("parley-capture", Capture);
