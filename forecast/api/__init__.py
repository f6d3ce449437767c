"""HTTP: the only layer that knows it."""
