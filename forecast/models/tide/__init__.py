"""TiDE, the Time-series Dense Encoder."""
