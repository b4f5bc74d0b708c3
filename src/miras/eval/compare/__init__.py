"""Runs side by side: differences with tests, who wins where."""
