/* Microphone and loudspeaker, as the client needs them. */

export const RATE = 24_000;

const here = (file) => new URL(file, import.meta.url).href;

/** Why there is no microphone, in words for the person. */
export class NoMicrophone extends Error {}

/** What is known before asking: the reason that no microphone can be had, or null. */
export function whyNoMicrophone() {
  if (window.isSecureContext && navigator.mediaDevices) return null;
  return (
    "Browsers give the microphone to https pages and to localhost only, and this page is neither. " +
    "Open it over https (for example with --share), or type below."
  );
}

/** Frames of the microphone, 20 ms each. */
export class Microphone {
  /**
   * @param onFrame called with (Int16Array, level 0..1)
   * @param onLost called when the device is pulled out, or taken away
   */
  static async open(onFrame, onLost) {
    const reason = whyNoMicrophone();
    if (reason) throw new NoMicrophone(reason);
    const microphone = new Microphone();
    try {
      microphone.stream = await navigator.mediaDevices.getUserMedia({
        audio: {
          channelCount: 1,
          echoCancellation: true,
          noiseSuppression: true,
          autoGainControl: true,
        },
      });
      await microphone.listen(onFrame);
    } catch (error) {
      microphone.close();
      throw new NoMicrophone(inWords(error));
    }
    microphone.track.addEventListener("ended", onLost);
    return microphone;
  }

  get track() {
    return this.stream.getAudioTracks()[0];
  }

  async listen(onFrame) {
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
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.context?.close();
  }
}

/** The loudspeaker; see playback-worklet.js for what it reports. */
export class Loudspeaker {
  /** @param onReport called with each message of the worklet */
  static async open(onReport) {
    const loudspeaker = new Loudspeaker();
    const context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    loudspeaker.context = context;
    await context.audioWorklet.addModule(here("playback-worklet.js"));
    loudspeaker.node = new AudioWorkletNode(context, "parley-playback", {
      numberOfInputs: 0,
      outputChannelCount: [1],
    });
    loudspeaker.node.port.onmessage = ({ data }) => onReport(data);
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

  close() {
    this.context.close();
  }
}

function inWords(error) {
  switch (error.name) {
    case "NotAllowedError":
      return (
        "The browser does not let this page use the microphone. Allow it beside the address, " +
        "then press again. Or type below."
      );
    case "NotFoundError":
      return "This machine has no microphone. Plug one in and press again, or type below.";
    case "NotReadableError":
      return "Another program holds the microphone. Close it there and press again, or type below.";
    default:
      return `The microphone did not start (${error.message}). Press again, or type below.`;
  }
}
