"""Signals and text for speech; knows no engine and no page."""
