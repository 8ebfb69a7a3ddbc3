/* The camera: its button, a small picture for the person, frames for an engine that can see. */

import { askFor, letGo, NoDevice } from "./devices.js";

/** Between two frames, ms. */
const PERIOD = 500;
/** The longer side of a frame, pixels: what models that see are made for. */
const LONGEST = 448;
const QUALITY = 0.7;

export class Camera {
  /**
   * @param button switches it
   * @param video shows what it sees
   * @param on what the camera calls: frame(jpeg in base64), tell(words for the person)
   */
  constructor(button, video, on) {
    this.button = button;
    this.video = video;
    this.on = on;
    this.stream = null;
    this.asked = 0; // Answers to earlier requests come too late.
    button.addEventListener("click", () => (this.isOn ? this.switchOff() : this.switchOn()));
    this.setEngine(null);
  }

  get isOn() {
    return this.stream !== null;
  }

  /** @param engine as `parley.engine` describes it; null while it is not known */
  setEngine(engine) {
    this.button.disabled = !engine?.can_see;
    this.button.title = engine
      ? engine.can_see
        ? "Show what the camera sees, two pictures a second"
        : `${engine.title} cannot see. Choose an engine that can.`
      : "The server has not said yet whether its engine can see.";
    if (!engine || engine.can_see || !this.isOn) return;
    this.switchOff();
    this.on.tell(`${this.button.title} The camera is off.`);
  }

  async switchOn() {
    const asked = ++this.asked;
    const wanted = { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: "user" };
    try {
      await askFor("video", wanted, async (stream) => {
        if (asked !== this.asked) return letGo(stream);
        this.video.srcObject = this.stream = stream;
        await this.video.play();
      });
    } catch (error) {
      if (!(error instanceof NoDevice)) throw error;
      if (asked !== this.asked) return; // Switched off while it started.
      this.switchOff();
      return this.on.tell(error.message);
    }
    if (asked !== this.asked) return;
    const [track] = this.stream.getVideoTracks();
    track.addEventListener("ended", () => {
      this.switchOff();
      this.on.tell("The camera is gone. The conversation goes on; plug it in and press again.");
    });
    // As when another program of a phone takes it: it may come back.
    track.addEventListener("mute", () => {
      this.on.tell("The camera sends no pictures now. The conversation goes on without them.");
    });
    track.addEventListener("unmute", () => this.on.tell(""));
    this.timer = setInterval(() => {
      if (!track.muted && this.video.videoWidth) this.on.frame(this.#frame());
    }, PERIOD);
    this.#show();
  }

  switchOff() {
    this.asked++;
    clearInterval(this.timer);
    letGo(this.stream);
    this.video.srcObject = this.stream = null;
    this.#show();
  }

  #frame() {
    const { videoWidth, videoHeight } = this.video;
    const scale = Math.min(1, LONGEST / Math.max(videoWidth, videoHeight));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(videoWidth * scale);
    canvas.height = Math.round(videoHeight * scale);
    canvas.getContext("2d").drawImage(this.video, 0, 0, canvas.width, canvas.height);
    return canvas.toDataURL("image/jpeg", QUALITY).split(",")[1];
  }

  #show() {
    this.button.setAttribute("aria-pressed", this.isOn);
    this.video.hidden = !this.isOn;
  }
}
