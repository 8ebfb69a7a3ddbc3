/* What the person has set: shown, told to each new session, kept for the next visit. */

import { SETTING } from "./client.js";
import { element } from "./waterfall.js";

/** Where the browser keeps it. */
const KEPT = "parley.settings";
/** What the server begins with, as long as it has not said otherwise. */
const DEFAULTS = {
  mode: "full",
  instructions: "",
  patience: "medium",
  silence_ms: 500,
  interrupt_after_ms: 250,
  vad: "silero",
  threshold: 0.5,
  min_speech_ms: 130,
  padding_ms: 300,
  temperature: 0.7,
  top_p: 0,
  block: 0,
  max_tokens: 256,
  history_limit: 20,
  images_in_history: false,
};
/** How each is told, in this order: an engine has its own voices. */
const TELL = {
  model: (client, model) => client.update("model", { model }),
  voice: (client, voice) => client.update("voice", { audio: { output: { voice } } }),
  instructions: (client, instructions) => client.update("instructions", { instructions }),
  interrupt_after_ms: (client, value) => client.configure("interrupt_after_ms", value),
  vad: (client, value) => client.configure("vad", value),
  threshold: (client, value) => client.configure("threshold", value),
  min_speech_ms: (client, value) => client.configure("min_speech_ms", value),
  padding_ms: (client, value) => client.configure("padding_ms", value),
  temperature: (client, value) => client.configure("temperature", value),
  top_p: (client, value) => client.configure("top_p", value),
  block: (client, value) => client.configure("block", Number(value)),
  max_tokens: (client, value) => client.update("max_tokens", { max_output_tokens: value }),
  history_limit: (client, value) => client.configure("history_limit", value),
  images_in_history: (client, value) => client.configure("images_in_history", value),
};
/** What "inf" comes to, tokens. */
const MOST_TOKENS = 4096;
/** More languages than this are counted, not named. */
const NAMED = 4;

export class Settings {
  /**
   * @param place what holds the controls; each names its setting in `data-setting`
   * @param client who is told
   */
  constructor(place, client) {
    this.place = place;
    this.client = client;
    this.wishes = load();
    this.asked = new Map(); // Engine -> style, key and model for its server; kept nowhere.
    this.session = {}; // As the server shows it, so far; and so on.
    this.configured = {};
    this.engine = null;
    this.refused = null; // The control whose value the server did not take.
    client.setMode(this.value("mode"));
    this.#setPatience();
    place.addEventListener("change", ({ target }) => this.#changed(target));
    place.addEventListener("input", () => this.#showSlider());
    this.show();
  }

  /** What holds: the person's wish, else the server's word. */
  value(name) {
    return this.wishes[name] ?? this.#told(name) ?? DEFAULTS[name];
  }

  /** The engine that answers, as described; null while it is not known, or being changed. */
  get chosenEngine() {
    return this.engine?.name === this.value("model") ? this.engine : null;
  }

  /** To a session that has just begun; `client` itself tells it how turns are taken. */
  tell() {
    for (const name of Object.keys(TELL)) {
      if (name in this.wishes) TELL[name](this.client, this.wishes[name]);
    }
    this.#tellAsked(); // Before anything that was typed is sent.
  }

  /** What the page asks of an engine; it is told to no other one. */
  ask({ engine, asked }) {
    this.asked.set(engine, asked);
    this.#tellAsked();
  }

  #tellAsked() {
    const engine = this.value("model");
    const asked = Object.entries(this.asked.get(engine) ?? {});
    // The server takes it for that engine only, should another one answer after all.
    for (const [name, value] of asked) this.client.configure(name, value, { engine });
  }

  /** Another engine is to answer, in this visit. */
  choose(model) {
    this.wishes.model = model;
    TELL.model(this.client, model);
    this.show();
  }

  take(event) {
    switch (event.type) {
      case "session.created":
      case "session.updated":
        this.session = event.session;
        break;
      case "parley.configured":
        this.configured = event;
        break;
      case "parley.engine":
        this.engine = event;
        this.#forgetVoice();
        this.#tellAsked();
        break;
      case "error":
        if (event.error.event_id?.startsWith(SETTING)) {
          this.#refuse(event.error.event_id.slice(SETTING.length));
        }
        break;
      default:
        return;
    }
    this.show();
  }

  show() {
    this.#offer("voice", this.engine?.voices ?? [], ({ name, description }) => [
      name,
      name,
      description,
    ]);
    for (const control of this.place.querySelectorAll("[data-setting]")) {
      const value = this.value(control.dataset.setting);
      // What is being written is not written over.
      if (control.matches("textarea:focus") && control.dataset.setting !== this.refused) continue;
      if (control.type === "checkbox") control.checked = value;
      else if (control.type === "radio") control.checked = control.value === value;
      else control.value = value ?? "";
    }
    this.refused = null;
    this.#showSlider();
    this.#find("abilities").hidden = !this.engine;
    this.#find("able").textContent = this.engine ? abilities(this.engine) : "";
    this.#find("notes").textContent = this.engine?.notes ?? "";
    this.#find("silence").hidden = this.value("patience") !== "silence";
    this.#find("images").hidden = !this.engine?.can_see;
    this.#find("block").hidden = !this.engine?.wishes?.includes("block");
  }

  #find(name) {
    return this.place.querySelector(`.talk-${name}`);
  }

  #told(name) {
    const detection = this.session.audio?.input?.turn_detection;
    switch (name) {
      case "model":
        return this.engine?.name;
      case "voice":
        return this.#voice();
      case "instructions":
        return this.session.instructions;
      case "max_tokens": {
        const most = this.session.max_output_tokens;
        return most === "inf" ? MOST_TOKENS : most;
      }
      case "patience":
        return detection?.type === "server_vad" ? "silence" : detection?.eagerness;
      case "silence_ms":
        return detection?.silence_duration_ms;
      default:
        return this.configured[name];
    }
  }

  #voice() {
    const told = this.session.audio?.output?.voice;
    const voices = this.engine?.voices.map(({ name }) => name) ?? [told];
    return voices.includes(told) ? told : voices[0];
  }

  #changed(control) {
    const { setting: name } = control.dataset;
    const value =
      control.type === "checkbox"
        ? control.checked
        : ["number", "range"].includes(control.type)
          ? control.valueAsNumber
          : control.value;
    if (Number.isNaN(value)) return this.show(); // Nothing was written.
    this.wishes[name] = value;
    this.#keep();
    if (name === "mode") this.client.setMode(value);
    else if (name === "patience" || name === "silence_ms") this.#setPatience();
    else TELL[name](this.client, value);
    this.show();
  }

  #setPatience() {
    const patience = this.value("patience");
    this.client.setPatience(
      patience === "silence"
        ? { type: "server_vad", silence_duration_ms: this.value("silence_ms") }
        : { type: "semantic_vad", eagerness: patience },
    );
  }

  #refuse(name) {
    if (!(name in this.wishes) && !(name === "patience" && "silence_ms" in this.wishes)) return;
    delete this.wishes[name];
    if (name === "patience") {
      delete this.wishes.silence_ms;
      this.#setPatience();
    }
    this.refused = name;
    this.#keep();
  }

  /** A voice is a wish for one engine; another one speaks as it likes. */
  #forgetVoice() {
    if (!("voice" in this.wishes)) return;
    const { name, voices } = this.engine;
    if (name !== (this.wishes.model ?? name)) return; // The wished one is still to come.
    if (voices.some((voice) => voice.name === this.wishes.voice)) return;
    delete this.wishes.voice;
    this.#keep();
  }

  #keep() {
    try {
      localStorage.setItem(KEPT, JSON.stringify({ ...this.wishes, model: undefined }));
    } catch {
      // A private window may keep nothing; then it holds until the page is closed.
    }
  }

  /** Fills a menu; until the server has told what there is, there is nothing to choose. */
  #offer(name, offered, describe) {
    const menu = this.place.querySelector(`select[data-setting=${name}]`);
    // While nothing is offered, what holds is shown.
    const only = this.value(name) ?? "";
    const key = JSON.stringify(offered.length ? offered : only);
    if (menu.dataset.offered === key) return;
    menu.dataset.offered = key;
    menu.disabled = offered.length === 0;
    menu.title = menu.disabled ? "Start talking, or type: then the choice is known." : "";
    const options = offered.map((one) => {
      const [value, label, title = ""] = describe(one);
      return Object.assign(element("option", "", label), { value, title });
    });
    const none = Object.assign(element("option", "", only || "the server's"), { value: only });
    menu.replaceChildren(...(options.length ? options : [none]));
  }

  #showSlider() {
    const slider = this.place.querySelector("input[type=range]");
    this.#find("slid").textContent = `${slider.value} ms`;
  }
}

function load() {
  try {
    return JSON.parse(localStorage.getItem(KEPT)) ?? {};
  } catch {
    return {};
  }
}

/** What an engine makes of the recording of a voice. */
const REFERENCES = {
  clone: "clones voices",
  prompt: "takes a voice as an example, and keeps its own timbre",
  match: "moves its voice towards another; that is no clone",
};

/** What an engine can and cannot do, in one line; its notes say more. */
function abilities({ hears, speaks, can_see, reference }) {
  const able = [
    hears.length ? `Hears ${languages(hears)}` : "Does not hear",
    speaks.length ? `speaks ${languages(speaks)}` : "does not speak",
    can_see ? "sees" : "cannot see",
    REFERENCES[reference] ?? "keeps to its own voices",
  ];
  return `${able.join("; ")}.`;
}

function languages(codes) {
  if (codes.includes("*")) return "most languages";
  if (codes.length > NAMED) return `${codes.length} languages`;
  const names = new Intl.DisplayNames(["en"], { type: "language" });
  return new Intl.ListFormat("en").format(codes.map((code) => names.of(code)));
}
