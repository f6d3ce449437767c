"""Rolling origins: forecasts from the past, each with what was known then."""
