"""Sprout: a small foundation model, pretrained on synthetic series only."""
