/* Where the time of a turn went: one thin line under the reply. */

/** Marks of `parley.timings`, with what was being done until each. */
const STEPS = {
  endpoint: "waiting for the end of your turn",
  encoded: "taking in what you said",
  transcript: "recognizing your words",
  first_token: "beginning the answer",
  first_audio: "beginning to speak",
  first_sent: "waiting to send",
  first_played: "to your ears",
};
/** A line as wide as its place, ms: slower turns are as wide, faster ones narrower. */
const WIDEST = 2000;

/** The steps in the order in which they ended; many run at the same time. */
function steps(marks) {
  const reached = Object.keys(STEPS)
    .filter((name) => name in marks)
    .map((name) => ({ name, at: Math.max(0, marks[name]) }))
    .sort((one, other) => one.at - other.at);
  return reached.map((step, index) => ({ ...step, took: step.at - (reached[index - 1]?.at ?? 0) }));
}

/** An empty line, folded; `fillWaterfall` puts the marks in. */
export function makeWaterfall() {
  const details = element("details", "talk-waterfall");
  details.append(element("summary", ""), element("ol", "talk-steps"));
  return details;
}

/** Shows these marks instead of earlier ones; an unfolded line stays unfolded, and focused. */
export function fillWaterfall(details, marks) {
  const all = steps(marks);
  const total = all.at(-1)?.at ?? 0;
  const bar = element("span", "talk-bar");
  bar.style.width = `${Math.min(100, (100 * total) / WIDEST)}%`;
  const items = [];
  for (const { name, at, took } of all) {
    const words = `${label(name)}: ${ms(at)} (${STEPS[name]}, ${ms(took)})`;
    const segment = element("span", `talk-segment talk-${name}`);
    segment.style.flexGrow = took;
    segment.title = words;
    bar.append(segment);
    items.push(element("li", `talk-step talk-${name}`, words));
  }
  const figure = element("span", "talk-total", ms(total));
  figure.title = "From your last word to the first sound of the reply";
  const place = element("span", "talk-place");
  place.append(bar);
  details.querySelector("summary").replaceChildren(figure, place);
  details.querySelector(".talk-steps").replaceChildren(...items);
}

export function ms(value) {
  return `${Math.round(value).toLocaleString("en")} ms`;
}

export function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function label(name) {
  return name.replace("_", " ");
}
