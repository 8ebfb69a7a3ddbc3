"""Parts of engines, and engines, that lie on other machines."""
