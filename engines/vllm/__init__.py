"""Language models on a vLLM server: snapshots made ready for it, and token ids streamed from it."""
