"""The process of its own that learns or forecasts: its orders, and whoever starts it."""
