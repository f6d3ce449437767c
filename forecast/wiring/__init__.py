"""From settings to the objects that serve and work: the one place that knows every layer."""

from forecast.wiring.gateway import gateway_app, host_app

__all__ = ["gateway_app", "host_app"]
