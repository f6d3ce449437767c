"""TSMixer."""
