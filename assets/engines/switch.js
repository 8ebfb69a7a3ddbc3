// The engine switch in the header: a button that says which engine answers and what it is doing,
// and a panel to find, load, unload and choose one. An engine is chosen once it is loaded: until
// then, and if that fails, the one before goes on answering.

/** Tabs that can have an engine of their own, and what they are called. */
const TABS = { talk: "Talk", chat: "Chat", voices: "Voices" };
/** How often the server is asked, ms: while a load runs, while the panel is open, else. */
const LOADING = 500, OPEN = 2000, CLOSED = 5000;

const find = (name) => element.querySelector(`.engine-${name}`);
const panel = find("panel"), button = find("button"), search = find("search"), list = find("list");

let engines = [];
let everywhere = props.value.talk; // The engine of the tabs that have none of their own.
let own = {}; // By tab.
let tab = "talk";
let active = null; // Name of the engine that the panel tells about.
let pending = null; // What is to be chosen once it is loaded: name, tab, whether its load has begun.
let agreed = null; // Name of the engine whose terms were ticked.
let timer = 0;

const named = (name) => engines.find((engine) => engine.name === name);
const chosen = () => own[tab] ?? everywhere;
const isOpen = () => panel.matches(":popover-open");
const scope = () => (tab in TABS && find("scope").querySelector("[value=tab]").checked ? tab : "all");

const say = (words, wrong = false) => {
  find("note").textContent = wrong ? "" : words;
  find("alert").textContent = wrong ? words : "";
};

// What the server says

async function refresh() {
  clearTimeout(timer);
  if (!document.hidden) {
    try {
      // What was asked before its load began may arrive after that: it tells nothing of it.
      const waited = pending?.begun ? pending : null;
      engines = await server.list_engines();
      if (waited === pending) settle();
      show();
    } catch { /* The server is away; the page says so elsewhere. */ }
  }
  const busy = engines.some(({ state }) => state === "loading");
  clearTimeout(timer);
  if (element.isConnected) timer = setTimeout(refresh, busy ? LOADING : isOpen() ? OPEN : CLOSED);
}

/** Whether what was waited for is there, or will not come. */
function settle() {
  const engine = pending && named(pending.name);
  if (!engine || engine.state === "loading") return;
  const { tab: where } = pending;
  pending = null;
  if (engine.state === "failed") say(refusal(engine.title, engine.failure), true);
  else if (engine.state === "ready") commit(engine, where);
  else say(`Loading ${engine.title} was stopped. ${named(chosen()).title} goes on answering.`);
}

const refusal = (title, why) =>
  `${title} could not be loaded. ${why}\n${named(chosen()).title} goes on answering.`;

/** Asks the server for something; whether that was done. */
async function ask(what, name) {
  const problem = await server[what](name).catch(() => "The server does not answer. Try again.");
  if (problem) say(problem, true);
  else if (what === "load_engine" && pending?.name === name) pending.begun = true;
  await refresh();
  return !problem;
}

// What the person does

async function choose(engine) {
  const where = scope();
  if (!engine.fit.ok) return say(`${engine.title} ${engine.fit.reason}. ${engine.fit.remedy}`, true);
  if (engine.terms) {
    if (agreed !== engine.name) {
      say(`${engine.title} has terms. Read them, and agree to them first.`, true);
      return find("facts").querySelector("input")?.focus();
    }
    if (!(await ask("agree_engine", engine.name))) return;
  }
  if (engine.state === "ready") {
    commit(engine, where);
    return panel.hidePopover();
  }
  say(`${named(chosen()).title} answers until ${engine.title} is loaded.`);
  const begun = engine.state === "loading";
  pending = { name: engine.name, tab: where, begun };
  if (begun) return show();
  if (!(await ask("load_engine", engine.name))) pending = null;
}

/** From now on it answers. */
function commit(engine, where) {
  const before = own.talk ?? everywhere;
  if (where === "all") [everywhere, own] = [engine.name, {}];
  else own[where] = engine.name;
  const value = Object.fromEntries(Object.keys(TABS).map((key) => [key, own[key] ?? everywhere]));
  props.value = value;
  trigger("change");
  if (value.talk !== before) {
    window.dispatchEvent(new CustomEvent("parley-engine", { detail: value.talk }));
  }
  say(`${engine.title} answers ${where === "all" ? "in all tabs" : `in ${TABS[where]}`} now.`);
  show();
}

async function load(engine) {
  if (engine.terms && agreed !== engine.name) return choose(engine);
  if (engine.terms && !(await ask("agree_engine", engine.name))) return;
  say("");
  await ask("load_engine", engine.name);
}

async function unload(engine) {
  if (await ask("unload_engine", engine.name)) say(`${engine.title} is unloaded.`);
}

// What is shown

function show() {
  const engine = named(chosen());
  if (!engine) return;
  const waited = pending && named(pending.name);
  find("chosen").textContent = engine.title;
  const only = tab in own ? `${TABS[tab]} only` : "";
  find("only").textContent = waited ? `${waited.title}: ${state(waited)}` : only;
  const doing = engine.fit.ok ? engine.state : "unfit";
  button.dataset.state = waited ? "loading" : doing;
  button.setAttribute("aria-label", `Engine: ${engine.title}, ${state(engine)}`);
  button.title = engine.fit.ok ? "Choose another engine" : `${engine.fit.reason}. ${engine.fit.remedy}`;
  find("this").hidden = !(tab in TABS);
  find("tab").textContent = `${TABS[tab]} only`;
  if (isOpen()) showPanel();
}

const matching = () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  return engines.filter((engine) => words.every((word) => searched(engine).includes(word)));
};

// What the list and the facts were drawn from: while that is so, they stay as they are, lest
// what is pressed be gone in that moment.
let listed = "", shown = "";

function showPanel() {
  const found = matching();
  if (!found.some(({ name }) => name === active)) active = found[0]?.name ?? null;
  showFacts(named(active));
  const key = JSON.stringify([found, active, chosen()]);
  if (key === listed) return;
  listed = key;
  list.replaceChildren(...found.map(row));
  if (!found.length) list.append(Object.assign(make("li", "engine-none", "No engine is like that."), { role: "presentation" }));
  if (active) search.setAttribute("aria-activedescendant", `engine-${active}`);
  else search.removeAttribute("aria-activedescendant");
}

function row(engine) {
  const line = make("li", engine.name === active ? "engine-active" : "");
  line.id = `engine-${engine.name}`;
  line.role = "option";
  line.setAttribute("aria-selected", engine.name === chosen());
  if (!engine.fit.ok) line.setAttribute("aria-disabled", "true");
  line.dataset.state = engine.fit.ok ? engine.state : "none";
  const title = make("span", "engine-title", engine.title);
  title.insertAdjacentHTML("beforeend", '<svg class="engine-check" viewBox="0 0 16 16" aria-hidden="true"><path d="M3 8.5l3.5 3.5L13 4.5" /></svg>');
  line.append(make("span", "engine-dot"), title, make("span", "engine-is", state(engine)));
  line.append(make("span", "engine-row", abilities(engine)));
  line.append(make("span", "engine-row engine-why", engine.fit.ok ? needs(engine) : engine.fit.reason));
  line.addEventListener("click", () => activate(engine.name));
  line.addEventListener("dblclick", () => choose(engine));
  return line;
}

function showFacts(engine) {
  const key = JSON.stringify([engine, engine && chosen() === engine.name, pending, agreed]);
  if (key === shown) return;
  shown = key;
  const place = find("facts");
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.does : null;
  place.replaceChildren(...(engine ? about(engine) : []));
  if (focused) (place.querySelector(`[data-does="${focused}"]:not(:disabled)`) ?? search).focus();
}

function about(engine) {
  const parts = [make("h3", "", engine.title), make("p", "", engine.notes)];
  if (!engine.fit.ok) {
    parts.push(make("p", "engine-box engine-bad", `It ${engine.fit.reason}. ${engine.fit.remedy}`));
  }
  if (engine.state === "failed") parts.push(make("p", "engine-box engine-bad", engine.failure));
  else if (engine.failure) parts.push(make("p", "engine-box", `It answers, but a part of it is missing. ${engine.failure}`));
  if (engine.state === "loading") parts.push(...progress(engine));
  if (engine.terms && engine.fit.ok) parts.push(terms(engine));
  if (engine.fit.ok) parts.push(actions(engine));
  const table = make("dl", "");
  for (const [name, value] of facts(engine)) table.append(make("dt", "", name), make("dd", "", value));
  return [...parts, table];
}

function progress(engine) {
  const bar = make("progress", "");
  bar.setAttribute("aria-label", `Loading ${engine.title}`);
  const { fraction } = engine.progress;
  if (fraction != null) bar.value = fraction;
  return [bar, make("p", "engine-far", far(engine))];
}

function terms(engine) {
  const box = make("div", "engine-box engine-terms");
  const tick = Object.assign(make("input", ""), { type: "checkbox", checked: agreed === engine.name });
  tick.dataset.does = "agree";
  tick.addEventListener("change", () => {
    agreed = tick.checked ? engine.name : null;
    say("");
    showPanel();
  });
  const label = make("label", "");
  label.append(tick, make("span", "", "I agree to these terms"));
  box.append(make("p", "", engine.terms), label);
  return box;
}

function actions(engine) {
  const place = make("div", "engine-actions");
  const add = (does, words, run, main = false) => {
    const pressed = Object.assign(make("button", main ? "engine-main" : "", words), { type: "button" });
    pressed.dataset.does = does;
    pressed.addEventListener("click", () => run(engine));
    place.append(pressed);
    return pressed;
  };
  const loads = engine.models[1] > 0;
  const here = scope() === "all" ? everywhere === engine.name && !Object.keys(own).length : chosen() === engine.name;
  if (engine.state === "loading") {
    const waits = pending?.name === engine.name;
    if (!here) add("use", waits ? "Used when loaded" : "Use when loaded", choose, true).disabled = waits;
    add("stop", "Stop", ({ name }) => ask("stop_engine", name));
    return place;
  }
  if (engine.state === "failed") add("use", "Retry", here ? load : choose, true);
  else if (!here) add("use", engine.state === "ready" ? "Use" : "Load and use", choose, true);
  else if (engine.state === "ready") add("use", "In use here", choose, true).disabled = true;
  if (loads && ["absent", "partial"].includes(engine.state)) add("load", "Load", load);
  if (loads && ["ready", "partial"].includes(engine.state)) {
    const leaves = add("unload", "Unload", unload);
    leaves.disabled = engine.users > 0;
    if (engine.users > 0) leaves.title = "It is answering just now.";
  }
  for (const pressed of place.querySelectorAll("[data-does=use], [data-does=load]")) {
    if (engine.terms && agreed !== engine.name) pressed.disabled = true;
  }
  return place;
}

// The panel

function activate(name) {
  active = name;
  showPanel();
  document.getElementById(`engine-${name}`)?.scrollIntoView({ block: "nearest" });
}

function step(by) {
  const found = matching();
  if (!found.length) return;
  const at = found.findIndex(({ name }) => name === active);
  activate(found[(at + by + found.length) % found.length].name);
}

function open() {
  const box = button.getBoundingClientRect();
  // Now, not when the panel's "toggle" comes, which may be after the first keys.
  search.value = "";
  active = chosen();
  listed = shown = "";
  if (!pending) say("");
  find("scope").querySelector(`[value=${tab in own ? "tab" : "all"}]`).checked = true;
  panel.style.top = `${Math.round(box.bottom + 6)}px`;
  panel.showPopover();
  showPanel();
  search.focus();
  const left = Math.min(box.left, document.documentElement.clientWidth - panel.offsetWidth - 8);
  panel.style.left = `${Math.round(Math.max(8, left))}px`;
}

button.addEventListener("click", () => (isOpen() ? panel.hidePopover() : open()));
panel.addEventListener("toggle", ({ newState }) => {
  const opened = newState === "open";
  button.setAttribute("aria-expanded", opened);
  if (opened) refresh();
});
// Light dismiss would eat the press that opens another thing; so does nobody's Esc or space.
panel.addEventListener("keydown", (event) => {
  event.stopPropagation();
  if (event.key !== "Escape") return;
  event.preventDefault();
  panel.hidePopover();
  button.focus();
});
search.addEventListener("input", showPanel);
search.addEventListener("keydown", (event) => {
  const engine = named(active);
  if (event.key === "ArrowDown") step(1);
  else if (event.key === "ArrowUp") step(-1);
  else if (event.key === "Enter" && engine) choose(engine);
  else return;
  event.preventDefault();
});
find("scope").addEventListener("change", () => {
  shown = "";
  showPanel();
});
window.addEventListener("parley-tab", ({ detail }) => {
  tab = detail;
  show();
});
document.addEventListener("visibilitychange", refresh);
refresh();
