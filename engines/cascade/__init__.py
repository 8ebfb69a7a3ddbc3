"""Recognizer, chat model, sentences and synthesizer, run concurrently."""
