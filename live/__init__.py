"""Live conversation: turns, replies and the protocol that carries them (see README.md)."""
