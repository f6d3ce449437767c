"""From settings to the objects that serve and work: the one place that knows every layer."""
