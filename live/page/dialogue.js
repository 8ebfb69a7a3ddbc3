/* The dialogue as it is shown: newest last, words as they come. */

import { element, fillWaterfall, makeWaterfall } from "./waterfall.js";
import { textOf } from "./client.js";

export class Dialogue {
  constructor(place) {
    this.place = place;
    this.rows = new Map(); // By item.
    this.replies = new Map(); // Items by response.
  }

  clear() {
    for (const row of this.rows.values()) row.remove();
    this.rows.clear();
    this.replies.clear();
    this.place.classList.add("talk-is-empty");
  }

  /** Shows what an event changes; events that change nothing are ignored. */
  take(event) {
    const show = this[event.type];
    if (!show) return;
    const { scrollHeight, scrollTop, clientHeight } = this.place;
    const atEnd = scrollHeight - scrollTop - clientHeight < 60;
    show.call(this, event);
    if (atEnd) this.place.scrollTop = this.place.scrollHeight;
  }

  "input_audio_buffer.speech_started"({ item_id }) {
    this.expect(item_id);
  }

  /** What was recognized so far; it may change, and is shown so. */
  "parley.transcript"({ item_id, text }) {
    const row = this.rows.get(item_id);
    if (row && !row.classList.contains("talk-pending")) return; // The final one was quicker.
    words(this.expect(item_id)).textContent = text;
  }

  "input_audio_buffer.committed"({ item_id }) {
    if (!this.rows.has(item_id)) this.expect(item_id);
    this.rows.get(item_id).dataset.committed = "";
  }

  "input_audio_buffer.cleared"() {
    this.forget(".talk-pending:not([data-committed])");
  }

  /** The server counts on no speech any more: it was noise, or the turns are taken otherwise. */
  "parley.state"({ state }) {
    if (state === "listening") this.forget(".talk-pending:not([data-committed])");
  }

  /** A new line: what was under way on the old one will never come. */
  "session.created"() {
    this.forget(".talk-pending");
  }

  "conversation.item.input_audio_transcription.completed"({ item_id, transcript }) {
    if (!transcript.trim()) return this.remove(item_id);
    this.settle(item_id, transcript);
  }

  /** It was heard, and was not meant for the model: it stands there, but nobody remembers it. */
  "parley.unanswered"({ item_id, message }) {
    const row = this.rows.get(item_id);
    if (!row) return;
    row.classList.add("talk-unanswered");
    row.append(element("span", "talk-silence", message));
  }

  "conversation.item.input_audio_transcription.failed"({ item_id }) {
    this.remove(item_id);
  }

  "conversation.item.added"({ item }) {
    const text = textOf(item);
    if (item.role === "user" && text) words(this.row(item.id, "user")).textContent = text;
  }

  "response.output_item.added"({ item, response_id }) {
    this.row(item.id, "assistant");
    this.replies.set(response_id, item.id);
  }

  "response.output_audio_transcript.delta"({ item_id, delta }) {
    words(this.row(item_id, "assistant")).textContent += delta;
  }

  "response.output_text.delta"(event) {
    this["response.output_audio_transcript.delta"](event);
  }

  /** Asked for after an interruption: what was heard stands, what was not is dimmed. */
  "conversation.item.retrieved"({ item }) {
    const row = this.rows.get(item.id);
    if (!row) return;
    if (item.role === "user") {
      if (textOf(item)) this.settle(item.id, textOf(item)); // Recognized while the line was down.
      return;
    }
    const said = words(row).textContent.trim().split(/\s+/);
    const heard = textOf(item).split(/\s+/).filter(Boolean).length;
    const unheard = element("span", "talk-unheard", ` ${said.slice(heard).join(" ")}`);
    unheard.title = "Interrupted: this was not heard, and the model does not remember saying it.";
    words(row).replaceChildren(said.slice(0, heard).join(" "), unheard);
  }

  "parley.timings"({ response_id, marks }) {
    const row = this.rows.get(this.replies.get(response_id));
    if (!row) return;
    let line = row.querySelector(".talk-waterfall");
    if (!line) row.append((line = makeWaterfall()));
    fillWaterfall(line, marks);
  }

  /** The last frame of the camera that went with a turn. @param jpeg in base64 */
  picture(id, jpeg, count) {
    const row = this.row(id, "user");
    const figure = element("figure", "talk-seen");
    const image = element("img", "");
    image.src = `data:image/jpeg;base64,${jpeg}`;
    image.alt = "What the camera saw then";
    const words = count === 1 ? "1 frame was shown" : `the last of ${count} frames that were shown`;
    figure.append(image, element("figcaption", "", words));
    row.querySelector(".talk-seen")?.remove();
    row.append(figure);
  }

  /** A row of the user's whose words are not certain yet. */
  expect(id) {
    const row = this.row(id, "user");
    row.classList.add("talk-pending");
    row.ariaBusy = "true"; // Screen readers wait for the final words.
    return row;
  }

  /** The final words. */
  settle(id, text) {
    const row = this.row(id, "user");
    row.classList.remove("talk-pending");
    row.ariaBusy = "false";
    words(row).textContent = text;
  }

  forget(selector) {
    for (const [id, row] of this.rows) if (row.matches(selector)) this.remove(id);
  }

  row(id, role) {
    let row = this.rows.get(id);
    if (row) return row;
    row = element("div", `talk-row talk-${role}`);
    row.append(element("span", "talk-who", role === "user" ? "You" : "Parley"));
    row.append(element("p", "talk-words"));
    this.rows.set(id, row);
    this.place.append(row);
    this.place.classList.remove("talk-is-empty");
    return row;
  }

  remove(id) {
    this.rows.get(id)?.remove();
    this.rows.delete(id);
    this.place.classList.toggle("talk-is-empty", this.rows.size === 0);
  }
}

function words(row) {
  return row.querySelector(".talk-words");
}
