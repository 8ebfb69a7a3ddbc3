/* A microphone in the hands of a test: a quiet room, in which something is said when the test
 * wants it, however slow the machine is. Everything behind getUserMedia is the page's own. */
(() => {
  if (!navigator.mediaDevices) return;
  const RATE = 24_000;
  const HISS = 1e-4; // So that nothing is digital silence.
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  let room;

  navigator.mediaDevices.getUserMedia = async (constraints) => {
    if (!constraints.audio) return ask(constraints);
    const context = new AudioContext({ sampleRate: RATE });
    room = new MediaStreamAudioDestinationNode(context);
    const buffer = new AudioBuffer({ length: RATE, sampleRate: RATE });
    buffer.copyToChannel(Float32Array.from({ length: RATE }, () => HISS * (2 * Math.random() - 1)), 0);
    const hiss = new AudioBufferSourceNode(context, { buffer, loop: true });
    hiss.connect(room);
    hiss.start();
    return room.stream;
  };

  /** Says a WAV file, given in base64; resolves once all of it has been said. */
  window.say = async (wav) => {
    const { context } = room;
    const bytes = Uint8Array.from(atob(wav), (letter) => letter.charCodeAt(0));
    const buffer = await context.decodeAudioData(bytes.buffer);
    const speech = new AudioBufferSourceNode(context, { buffer });
    speech.connect(room);
    speech.start();
    await new Promise((resolve) => speech.addEventListener("ended", resolve));
  };
})();
