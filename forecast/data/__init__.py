"""Anything a caller sends, made into series."""
