"""Classical models: ETS, ARIMA, Theta, MSTL, naive ones, and the automatic choice."""
