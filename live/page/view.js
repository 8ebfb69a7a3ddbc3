/* The talk tab: what is pressed becomes calls of the client, what it tells becomes visible. */

import { Camera } from "./camera.js";
import { Client } from "./client.js";
import { NoDevice, whyNone } from "./devices.js";
import { Dialogue } from "./dialogue.js";
import { download } from "./download.js";
import { Recording } from "./recording.js";
import { Settings } from "./settings.js";
import { Turns } from "./turns.js";
import { ms } from "./waterfall.js";

/** Quieter than this moves nothing, dB. */
const FLOOR = -55;

/** Brings the template to life. */
export function mount(element, getToken, describe) {
  const root = element.querySelector(".talk");
  root.view = new View(root, getToken, describe); // Tests look into it.
}

class View {
  /**
   * @param getToken see `Client`
   * @param describe gives a promise of an engine as `parley.engine` shows it; null: the server's
   */
  constructor(root, getToken, describe) {
    this.root = root;
    this.describe = describe;
    this.find = (name) => root.querySelector(`.talk-${name}`);
    this.dialogue = new Dialogue(this.find("dialogue"));
    this.turns = new Turns();
    this.recording = new Recording();
    this.isOver = false; // The person hung up: pressing again begins anew.
    this.isDownloading = false;
    this.isSaying = false; // A typed message waits for the line.
    this.state = "listening"; // As the server says it.
    this.levels = { me: 0, reply: 0 };
    // Figures for tests: the last interruption and how far the loudspeaker is.
    this.figures = { silentMs: null, playedMs: 0, underruns: 0 };
    this.client = new Client(getToken, {
      event: (event) => this.take(event),
      begun: (resumed) => {
        this.settings.tell();
        this.recording.begin(resumed);
      },
      line: (state, reason) => this.showLine(state, reason),
      level: (who, value) => this.showLevel(who, value),
      heard: (pcm) => this.recording.hear(pcm),
      sounded: (item, pcm, at) => this.recording.sound(item, pcm, at),
      silenced: (item, heardMs, silentMs) => {
        this.recording.interrupt(item);
        Object.assign(this.figures, { heardMs, silentMs });
      },
      played: (item, playedMs, underruns) => Object.assign(this.figures, { playedMs, underruns }),
      lost: () => this.lostMicrophone(),
    });
    this.settings = new Settings(this.find("side"), this.client);
    this.camera = new Camera(this.find("camera"), this.find("preview"), {
      frame: (jpeg) => this.client.see(jpeg),
      tell: (words) => this.note(words),
    });
    this.wire();
    this.find("side").open = matchMedia("(min-width: 861px)").matches;
    this.note(whyNone("audio"));
    this.show();
    this.meet(null);
  }

  /** Shows an engine that is to answer, before it does. */
  async meet(name) {
    const engine = await this.describe(name).catch(() => null); // Then the session will tell.
    const chosen = this.settings.wishes.model ?? null;
    if (engine && !this.client.isOpen && chosen === name) this.take(engine);
  }

  /** The header of the page has another engine. */
  choose(name) {
    this.settings.choose(name);
    this.meet(name);
  }

  wire() {
    const { client } = this;
    this.find("call").addEventListener("click", () => this.call());
    this.find("mute").addEventListener("click", () => this.mute());
    this.find("stop").addEventListener("click", () => client.stop());
    this.find("download").addEventListener("click", () => this.download());
    this.find("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.say();
    });
    this.find("modes").addEventListener("change", () => this.show());
    const hold = this.find("hold");
    hold.addEventListener("pointerdown", (event) => {
      hold.setPointerCapture(event.pointerId);
      this.press(true);
    });
    for (const name of ["pointerup", "pointercancel"]) {
      hold.addEventListener(name, () => this.press(false));
    }
    hold.addEventListener("contextmenu", (event) => event.preventDefault());
    document.addEventListener("keydown", (event) => this.key(event, true));
    document.addEventListener("keyup", (event) => this.key(event, false));
    // A key that is let go in another window is not seen here.
    window.addEventListener("blur", () => this.press(false));
    window.addEventListener("parley-engine", ({ detail }) => this.choose(detail));
    window.addEventListener("parley-wishes", ({ detail }) => this.settings.ask(detail));
    window.addEventListener("pagehide", () => client.hangUp());
  }

  get isShown() {
    return this.root.offsetParent !== null;
  }

  key(event, down) {
    if (!this.isShown || !this.client.isOpen) return;
    if (event.key === "Escape" && down) this.client.stop();
    const keyed = "input:not([type=radio]), textarea, select, button, summary";
    const elsewhere = event.target.closest?.(keyed);
    const talks = event.key === " " && this.client.mode === "push";
    if (!talks || (elsewhere && elsewhere !== this.find("hold"))) return;
    event.preventDefault(); // Or the page would scroll.
    if (!event.repeat) this.press(down);
  }

  // What the person does

  async call() {
    if (!this.isCalling) return this.begin({ microphone: true });
    this.client.hangUp();
    this.isOver = true;
  }

  /** Whether the button hangs up: also on a line that is only typed on, while it waits. */
  get isCalling() {
    return this.client.microphone != null || this.root.dataset.line === "waiting";
  }

  async say() {
    const text = this.find("text").value.trim();
    if (!text || this.isSaying) return;
    this.isSaying = true;
    const isOpen = await this.begin({ microphone: false });
    this.isSaying = false;
    if (!isOpen) return;
    this.find("text").value = "";
    this.turns.typed = true;
    this.client.say(text);
  }

  /** Opens what is not open yet; returns whether the line is there. */
  async begin({ microphone }) {
    this.note("");
    try {
      if (this.isOver && microphone) this.reset();
      this.isOver = false;
      // First, so that nobody waits for a line that they cannot speak on.
      if (microphone) await this.client.openMicrophone();
      await this.client.open();
    } catch (error) {
      if (!(error instanceof NoDevice)) this.client.hangUp();
      this.note(error.message || "The sound did not start. Reload the page.");
    }
    this.show();
    return this.client.isOpen;
  }

  /** A new conversation begins; the one before was hung up. */
  reset() {
    this.client.forget();
    this.dialogue.clear();
    this.turns.clear();
    this.recording.clear();
    this.showFigures();
    this.showDownload();
  }

  async download() {
    this.isDownloading = true; // An hour takes a while.
    this.showDownload();
    await download(this.recording, this.client.items, this.turns);
    this.isDownloading = false;
    this.showDownload();
  }

  mute() {
    const on = this.find("mute").getAttribute("aria-pressed") !== "true";
    this.find("mute").setAttribute("aria-pressed", on);
    this.client.microphone?.mute(on);
    this.show();
  }

  press(down) {
    if (this.client.mode !== "push") return;
    if (down) this.client.press();
    else if (this.client.release()) this.turns.typed = false;
    this.find("hold").classList.toggle("talk-pressed", this.client.pressed);
    this.show();
  }

  lostMicrophone() {
    this.client.hangUp();
    this.note("The microphone is gone. Plug it in and press again.");
  }

  // What the client tells

  take(event) {
    this.dialogue.take(event);
    this.settings.take(event);
    this.recording.take(event);
    const { settings } = this;
    this.turns.take(event, { engine: settings.value("model"), voice: settings.value("voice") });
    switch (event.type) {
      case "parley.state":
        this.state = event.state;
        this.show();
        break;
      case "parley.timings":
        this.showFigures();
        break;
      case "conversation.item.added":
      case "conversation.item.done":
      case "conversation.item.input_audio_transcription.completed":
        this.showDownload();
        break;
      case "parley.engine":
        this.camera.setEngine(this.settings.chosenEngine);
        break;
      case "parley.seen":
        this.showSeen(event);
        break;
      case "parley.unanswered":
      case "parley.notice":
        this.note(event.message);
        break;
      case "error":
        if (event.error.code === "cannot_see") this.camera.switchOff();
        this.camera.setEngine(this.settings.chosenEngine);
        // A reply that ends by itself just before it is stopped is no news.
        if (event.error.code !== "response_cancel_not_active") this.note(event.error.message);
        break;
    }
  }

  showSeen({ item_id, count, frame }) {
    const jpeg = this.client.frames.get(frame);
    if (jpeg) this.dialogue.picture(item_id, jpeg, count);
  }

  showFigures() {
    const { count, p50_ms, p95_ms } = this.turns.summary();
    this.find("count").textContent = ["no turns yet", "1 turn"][count] ?? `${count} turns`;
    this.find("p50").textContent = count ? ms(p50_ms) : "–";
    this.find("p95").textContent = count ? ms(p95_ms) : "–";
  }

  showDownload() {
    const said = [...this.client.items.values()].some(({ text }) => text);
    this.find("download").disabled = this.isDownloading || !said;
  }

  showLine(state, reason) {
    if (state === "reconnecting") this.note(`${reason || "The line dropped."} Trying again …`);
    else if (reason) this.note(reason);
    else if (state === "open") this.note("");
    this.root.dataset.line = state;
    if (state !== "open") this.state = "listening";
    if (state === "closed") this.camera.switchOff();
    this.show();
  }

  showLevel(who, value) {
    this.levels[who] = value;
    const loudest = Math.max(this.levels.me, this.levels.reply);
    const level = Math.max(0, 1 - (20 * Math.log10(loudest + 1e-6)) / FLOOR);
    this.find("ring").style.setProperty("--level", level.toFixed(3));
  }

  /** The state in one word, and what can be pressed in it. */
  show() {
    const { client } = this;
    const line = this.root.dataset.line;
    const talking = client.microphone != null;
    const muted = this.find("mute").getAttribute("aria-pressed") === "true";
    let word = line === "open" ? this.state : line === "closed" ? "ready" : line;
    if (client.pressed) word = "hearing";
    else if (word === "listening" && muted && talking) word = "muted";
    else if (word === "listening" && (!talking || client.mode === "push")) word = "ready";
    this.root.dataset.state = word;
    this.root.dataset.mode = client.mode;
    this.root.toggleAttribute("data-microphone", talking);
    this.root.toggleAttribute("data-calling", this.isCalling);
    this.find("state").textContent = word;
    this.find("stop").disabled = !["thinking", "speaking"].includes(word);
    const call = this.find("call");
    call.disabled = line === "connecting" || (line === "reconnecting" && !talking);
    const leave = line === "waiting" ? "Leave" : "Hang up";
    this.find("call-label").textContent = this.isCalling ? leave : "Start talking";
    if (!talking) this.find("mute").setAttribute("aria-pressed", false);
  }

  note(text) {
    this.find("note").textContent = text ?? "";
  }
}
