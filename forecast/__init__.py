"""A self-hosted gateway to every forecasting model."""

__version__ = "0.1.0"
