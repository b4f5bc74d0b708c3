"""A run: recorded conversations held with a system, a row for each turn, a summary."""
