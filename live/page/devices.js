/* Microphone and camera as the browser gives them, and in plain words why it does not. */

/** What each is called, and what can be done without it. */
const DEVICES = {
  audio: { name: "microphone", otherwise: "type below" },
  video: { name: "camera", otherwise: "go on without it" },
};

/** Why there is no such device, in words for the person. */
export class NoDevice extends Error {}

/** What is known before asking: the reason that none can be had, or null. */
export function whyNone(kind) {
  if (window.isSecureContext && navigator.mediaDevices) return null;
  const { name, otherwise } = DEVICES[kind];
  return (
    `Browsers give the ${name} to https pages and to localhost only, and this page is neither. ` +
    `Open it over https (for example with --share), or ${otherwise}.`
  );
}

/**
 * Asks for a device.
 * @param kind "audio" or "video"
 * @param constraints of `getUserMedia`
 * @param use given the stream; if it fails, the device is let go
 */
export async function askFor(kind, constraints, use) {
  const reason = whyNone(kind);
  if (reason) throw new NoDevice(reason);
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ [kind]: constraints });
    await use(stream);
  } catch (error) {
    letGo(stream);
    throw new NoDevice(inWords(error, DEVICES[kind]));
  }
}

/** Stops a stream, so that the light beside the lens goes out. */
export function letGo(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

function inWords(error, { name, otherwise }) {
  switch (error.name) {
    case "NotAllowedError":
      return (
        `The browser does not let this page use the ${name}. Allow it beside the address, ` +
        `then press again. Or ${otherwise}.`
      );
    case "NotFoundError":
      return `This machine has no ${name}. Plug one in and press again, or ${otherwise}.`;
    case "NotReadableError":
      return `Another program holds the ${name}. Close it there and press again, or ${otherwise}.`;
    default:
      return `The ${name} did not start (${error.message}). Press again, or ${otherwise}.`;
  }
}
