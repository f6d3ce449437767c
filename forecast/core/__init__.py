"""Types, errors and formulas that every layer shares; imports nothing of ours."""
