"""TimesFM 2.5, 200M parameters."""
