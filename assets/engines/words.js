// What the engine switch says of an engine; one script with switch.js, which follows.

/** A part of the page with a text. */
const make = (tag, name, text = "") =>
  Object.assign(document.createElement(tag), { className: name, textContent: text });

/** More languages than this are counted, not named. */
const NAMED = 4;

const languages = (codes) => {
  if (codes.includes("*")) return "most languages";
  if (codes.length > NAMED) return `${codes.length} languages`;
  const names = new Intl.DisplayNames(["en"], { type: "language" });
  return new Intl.ListFormat("en").format(codes.map((code) => names.of(code)));
};

/** Bytes for people: "21 GB", "3.5 GB", "260 MB". */
const size = (bytes) => {
  if (bytes >= 1e10) return `${Math.round(bytes / 1e9)} GB`;
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Math.round(bytes / 1e6)} MB`;
};

const time = (seconds) =>
  seconds < 90 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;

const REFERENCES = { clone: "clones voices", prompt: "takes a voice as an example", match: "matches voices" };
const TASKS = { sqa: "talks", asr: "writes down", tts: "reads aloud", text: "chats" };
const STATES = { absent: "not loaded", partial: "partly loaded", ready: "ready", failed: "failed" };

/** What it can do, in a line. */
const abilities = (engine) => {
  const { hears, speaks } = engine;
  const same = hears.length && String(hears) === String(speaks);
  const able = same ? [`hears and speaks ${languages(hears)}`] : [
    hears.length ? `hears ${languages(hears)}` : "does not hear",
    speaks.length ? `speaks ${languages(speaks)}` : "does not speak",
  ];
  if (engine.reference) able.push(REFERENCES[engine.reference]);
  if (engine.can_see) able.push("sees");
  return able.join(" · ");
};

const memory = (engine) => {
  const parts = engine.memory.map(([device, bytes]) =>
    device === "cpu" ? `${size(bytes)} of memory` : `${size(bytes)} of GPU memory`,
  );
  return parts.join(" and ") || "none here";
};

const download = ({ download: all, missing }) => {
  if (!all) return "none";
  return missing ? `${size(missing)} to fetch` : `${size(all)}, all here`;
};

/** What it needs, in a line. */
const needs = (engine) => {
  const fetch = engine.missing ? `${size(engine.missing)} to download` : "";
  const room = engine.memory.length ? memory(engine) : "runs elsewhere";
  return [room, fetch, engine.licence].filter(Boolean).join(" · ");
};

/** Its state in a word or two. */
const state = (engine) => {
  if (!engine.fit.ok) return "does not fit";
  if (engine.state !== "loading") return STATES[engine.state];
  const { fraction } = engine.progress;
  return fraction == null ? "loading" : `loading ${Math.round(100 * fraction)} %`;
};

/** How far a load is. */
const far = ({ progress, models }) => {
  const { text, fraction, bytes_done: done, seconds_left: left } = progress;
  const parts = [text];
  if (done != null) parts.push(fraction ? `${size(done)} of ${size(done / fraction)}` : size(done));
  if (left != null) parts.push(`${time(left)} left`);
  if (models[1] > 1) parts.push(`${models[0]} of ${models[1]} models ready`);
  return parts.join(" · ");
};

/** What a search looks through. */
const searched = (engine) =>
  [
    engine.name, engine.title, engine.notes, engine.licence, engine.needs, state(engine),
    abilities(engine), ...engine.tasks.map((task) => TASKS[task]),
    ...[...engine.hears, ...engine.speaks].filter((code) => code !== "*").map((code) => languages([code])),
  ].join(" ").toLowerCase();

/** The facts of an engine: pairs of what it is and what to say. */
const facts = (engine) => [
  ["Tasks", engine.tasks.map((task) => TASKS[task]).join(", ")],
  ["Hears", engine.hears.length ? languages(engine.hears) : "nothing"],
  ["Speaks", engine.speaks.length ? `${languages(engine.speaks)}; ${engine.voices === 1 ? "1 voice" : `${engine.voices} voices`}` : "nothing"],
  ["Voices", REFERENCES[engine.reference] ?? "its own only"],
  ["Sees", engine.can_see ? "yes" : "no"],
  ["Memory", memory(engine)],
  ["Download", download(engine)],
  ["Needs", engine.needs],
  ["Licence", engine.licence],
];
