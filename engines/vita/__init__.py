"""VITA-1.5: it sees, it hears, and it knows when not to answer."""
