// The players of the voices tab: one sounds at a time, and a press switches to another one at
// the same place. Runs for the component that holds them, whose content is drawn anew each time.
const players = () => [...element.querySelectorAll("audio")];
let last = null;

const show = (side) => {
  for (const button of element.querySelectorAll("[data-switch]")) {
    button.setAttribute("aria-pressed", button.dataset.switch === side);
  }
};

// Events of media do not bubble; they can be caught on their way down.
element.addEventListener("play", ({ target }) => {
  for (const other of players()) if (other !== target) other.pause();
  last = target;
  show(target.dataset.side);
}, true);

element.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-switch]");
  if (!button) return;
  const from = players().find((player) => !player.paused) ?? (last?.isConnected ? last : null);
  const to = players().find((player) => player.dataset.side === button.dataset.switch);
  if (from && from !== to) {
    // A shorter one begins again rather than say nothing.
    to.currentTime = from.currentTime < to.duration ? from.currentTime : 0;
    from.pause();
  }
  show(button.dataset.switch);
  to.play();
});

// Esc stops the speech that is being made, wherever the focus is.
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") document.querySelector("#voice-stop:not([disabled])")?.click();
});
