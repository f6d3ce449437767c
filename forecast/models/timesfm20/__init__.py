"""TimesFM 2.0, 500M parameters."""
