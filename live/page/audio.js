/* Microphone and loudspeaker, as the client needs them. */

import { askFor, letGo } from "./devices.js";

export const RATE = 24_000;

const here = (file) => new URL(file, import.meta.url).href;

/** Frames of the microphone, 20 ms each. */
export class Microphone {
  /**
   * @param onFrame called with (Int16Array, level 0..1)
   * @param onLost called when the device is pulled out, or taken away
   */
  static async open(onFrame, onLost) {
    const microphone = new Microphone();
    const wanted = {
      channelCount: 1,
      echoCancellation: true,
      noiseSuppression: true,
      autoGainControl: true,
    };
    try {
      await askFor("audio", wanted, (stream) => microphone.listen(stream, onFrame));
    } catch (error) {
      microphone.close();
      throw error;
    }
    microphone.track.addEventListener("ended", onLost);
    return microphone;
  }

  get track() {
    return this.stream.getAudioTracks()[0];
  }

  async listen(stream, onFrame) {
    this.stream = stream;
    let source;
    try {
      this.context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
      source = this.context.createMediaStreamSource(this.stream);
    } catch {
      // Firefox joins only what has the same rate; the worklet resamples then.
      this.context?.close();
      this.context = new AudioContext({ latencyHint: "interactive" });
      source = this.context.createMediaStreamSource(this.stream);
    }
    await this.context.audioWorklet.addModule(here("capture-worklet.js"));
    const node = new AudioWorkletNode(this.context, "parley-capture", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => onFrame(new Int16Array(data.pcm), data.level);
    source.connect(node);
    await this.context.resume();
  }

  /** A muted microphone goes on, in silence: the server counts time in samples. */
  mute(on) {
    this.track.enabled = !on;
  }

  close() {
    letGo(this.stream);
    this.context?.close();
  }
}

/** A flush is answered within this time, ms. */
const FLUSHED = 200;

/** The loudspeaker; see playback-worklet.js for what it reports. */
export class Loudspeaker {
  /**
   * @param onReport called with each message of the worklet, with `heard` added, how much has
   *   left the loudspeaker, ms, and `at`, when the sample of `time` does, on the page's clock
   */
  static async open(onReport) {
    const loudspeaker = new Loudspeaker();
    const context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    loudspeaker.context = context;
    await context.audioWorklet.addModule(here("playback-worklet.js"));
    loudspeaker.node = new AudioWorkletNode(context, "parley-playback", {
      numberOfInputs: 0,
      outputChannelCount: [1],
    });
    loudspeaker.node.port.onmessage = ({ data }) => {
      const { latency } = loudspeaker;
      const heard = Math.max(0, data.ms - latency * 1000);
      const at = performance.now() + (data.time - context.currentTime + latency) * 1000;
      onReport({ ...data, heard, at });
    };
    loudspeaker.node.connect(context.destination);
    await context.resume();
    return loudspeaker;
  }

  /** How long a sample takes from the worklet to the ear, seconds, as far as the browser knows. */
  get latency() {
    return this.context.outputLatency || this.context.baseLatency || 0;
  }

  play(item, pcm) {
    this.node.port.postMessage({ type: "audio", item, pcm }, [pcm.buffer]);
  }

  end(item) {
    this.node.port.postMessage({ type: "end", item });
  }

  flush() {
    this.node.port.postMessage({ type: "flush", at: this.context.currentTime });
  }

  /** Silence, and then the end: what was heard until then is reported. */
  close() {
    this.flush();
    setTimeout(() => this.context.close(), FLUSHED);
  }
}
