"""VITA-Audio: a language model of text and speech codes that predicts several tokens at once."""
