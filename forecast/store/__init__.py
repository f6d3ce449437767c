"""Where weights and versions live."""
