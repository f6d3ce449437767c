"""What every model is built on."""
