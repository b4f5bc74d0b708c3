"""A run as one page to read."""
