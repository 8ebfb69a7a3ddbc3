"""Voices people bring: kept, guarded, exchanged, and marked in what is made with them."""
