"""The voice of VITA-1.5: reply text to codes to sound, at 24 kHz, as the text is written."""
