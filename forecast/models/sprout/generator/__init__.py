"""Synthetic series for pretraining, in vectorised NumPy. No real series is ever read."""
