/* The browser's side of the talk tab without WebSockets; see demos/stream_fallback.py. */

/** So long may a WebSocket take to open, ms; some proxies never answer. */
const PATIENCE = 5_000;
/** Scripts of a component that is shown for the first time are all there after so long, ms. */
const LOADED = 500;
/** A microphone that gives nothing is closed and opened again after so long, ms, so often. */
const DUMB = 3_000;
const TRIES = 3;
/** A player may have sound without playing it for so long, pieces of the microphone. */
const BLOCKED = 15;

const find = (selector) => document.querySelector(`#fallback ${selector}`);

// Is there a need?

/**
 * Watches the line of the talk tab until it has opened, or turns out to open never.
 *
 * @param element holds the tab; its `data-line` says how the line is
 * @param isReachable gives a promise that is kept if the server answers without WebSocket
 * @param giveUp called with whether the microphone was wanted
 */
export function watch(element, isReachable, giveUp) {
  const root = element.querySelector(".talk");
  let wasOpen = false;
  let microphone = false;
  let timer;

  const changes = new MutationObserver((records) => {
    const { line } = root.dataset;
    clearTimeout(timer);
    if (line === "open" || line === "waiting") wasOpen = true;
    if (line === "connecting") {
      microphone = root.hasAttribute("data-microphone");
      timer = setTimeout(probe, PATIENCE);
    } else if (line === "closed" && records.some(({ oldValue }) => oldValue === "connecting")) {
      probe();
    }
  });

  async function probe() {
    if (wasOpen || (await opens()) || !(await keeps(isReachable)) || wasOpen) return;
    changes.disconnect();
    root.view?.client.hangUp();
    giveUp(microphone);
  }

  changes.observe(root, { attributeFilter: ["data-line"], attributeOldValue: true });
}

/** A socket that ends so never reached the server, which says why it closes one. */
const UNREACHED = 1006;

/** Whether WebSockets come through: the server opens every one, before it refuses it. */
function opens() {
  const url = new URL("v1/realtime", new URL("..", import.meta.url));
  url.protocol = url.protocol.replace("http", "ws");
  return new Promise((resolve) => {
    try {
      const socket = new WebSocket(url);
      socket.onopen = () => resolve(true);
      socket.onclose = ({ code }) => resolve(code !== UNREACHED);
      setTimeout(() => socket.close(), PATIENCE);
    } catch {
      resolve(false);
    }
  });
}

async function keeps(promised) {
  try {
    await promised();
    return true;
  } catch {
    return false;
  }
}

// What is done in its place

let call; // The conversation on the server.
let count = 0; // Pieces of the microphone sent to it.
let unplayed = 0; // Pieces since when the player has sound and does not play it.

let isWanted; // The microphone, without another press.

/**
 * @param begins open the microphone by itself
 * @param ready called when Gradio's recorder is there, which then begins: see `begin`
 */
export async function mount({ begins }, ready) {
  isWanted = begins;
  find(".fallback-play").addEventListener("click", () => player()?.play());
  document.addEventListener("keydown", ({ key }) => {
    if (key === "Escape") find("#fallback-stop")?.click();
  });
  // Gradio does not say when; a recorder that is begun earlier fails for good.
  await scriptsAreLoaded();
  ready();
}

export async function begin() {
  for (let tries = 0; isWanted && !count && tries < TRIES; tries++) {
    if (tries) press("Stop");
    press("Record");
    await new Promise((resolve) => setTimeout(resolve, DUMB));
  }
}

function scriptsAreLoaded() {
  return new Promise((resolve) => {
    let timer;
    const wait = () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        observer.disconnect();
        resolve();
      }, LOADED);
    };
    const observer = new PerformanceObserver((list) => {
      if (list.getEntries().some(({ name }) => name.endsWith(".js"))) wait();
    });
    observer.observe({ type: "resource" });
    wait();
  });
}

/** What goes with a piece of the microphone: its number, and how far the player is. */
export function report(clip, wire) {
  if (wire?.call !== call) {
    call = wire?.call;
    count = 0;
  }
  const audio = player();
  const isBlocked = audio?.paused && audio.readyState >= 2 && audio.currentTime === 0;
  unplayed = isBlocked ? unplayed + 1 : 0;
  find(".fallback-play").hidden = unplayed < BLOCKED;
  return [
    clip,
    {
      call: call ?? "",
      number: ++count,
      reply: wire?.reply ?? "",
      seconds: audio?.currentTime ?? 0,
      ended: audio?.ended ?? false,
    },
  ];
}

/** The server said something: when the conversation is over, the microphone is closed. */
export function follow(wire) {
  if (wire?.over) press("Stop");
}

function player() {
  return find("#fallback-player audio");
}

/** Presses a button of the microphone. */
function press(label) {
  const buttons = [...document.querySelectorAll("#fallback-microphone button")];
  buttons.find(({ textContent }) => textContent.trim() === label)?.click();
}
