/* A session as a file: what both said, when, and how long it took. */

import { zip } from "./zip.js";

/** So long the browser may take to begin with a download, ms. */
const BEGINNING = 60_000;

/**
 * @param recording a `Recording`
 * @param items id -> role and text, in order
 * @param turns a `Turns`
 */
export async function download(recording, items, turns) {
  const json = (value) => new Blob([JSON.stringify(value, null, 2)], { type: "application/json" });
  const file = await zip({
    ...recording.wavs(),
    "transcript.json": json(recording.transcript(items)),
    "timings.json": json(turns.report()),
  });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = `parley-${recording.began.toISOString().slice(0, 19).replaceAll(":", "-")}.zip`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), BEGINNING);
}
