"""Durable jobs: kept in a database, worked off by workers, followed by callers."""
