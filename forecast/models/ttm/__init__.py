"""TinyTimeMixers of IBM."""
