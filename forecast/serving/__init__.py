"""Loaded models, their queues and the processes that hold them."""
