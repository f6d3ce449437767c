"""Prophet: trend, seasonality, holidays and regressors, fitted per series."""
