"""What callers send, made into series, in stages: read, roles, series, and shapes at the edge."""
