/* The turns of this page and how long each took. */

/** The p-th percentile (0 to 100), nearest rank; null of nothing. */
function percentile(values, p) {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.max(0, Math.ceil((p / 100) * sorted.length) - 1)] ?? null;
}

export class Turns {
  constructor() {
    this.clear();
  }

  clear() {
    this.turns = new Map(); // By response.
    this.typed = false; // The reply that comes answers a typed message.
  }

  /** @param given who answers: engine and voice */
  take(event, given) {
    switch (event.type) {
      case "input_audio_buffer.speech_started":
        this.typed = false;
        break;
      case "response.created":
        this.turns.set(event.response.id, { typed: this.typed, ...given, item: null, marks: {} });
        break;
      case "response.output_item.added":
        if (this.turns.has(event.response_id)) {
          this.turns.get(event.response_id).item = event.item.id;
        }
        break;
      case "parley.timings":
        if (this.turns.has(event.response_id)) {
          this.turns.get(event.response_id).marks = event.marks;
        }
        break;
    }
  }

  /** From the last word to the first sound at the ear, over the spoken turns; ms. */
  summary() {
    const took = [...this.turns.values()]
      .filter(({ typed, marks }) => !typed && "first_played" in marks)
      .map(({ marks }) => marks.first_played);
    return { count: took.length, p50_ms: percentile(took, 50), p95_ms: percentile(took, 95) };
  }

  /** All of it, for a file. */
  report() {
    const responses = [...this.turns].map(([response, turn]) => ({ response, ...turn }));
    return { measured: "ms after the last speech sample", ...this.summary(), responses };
  }
}
