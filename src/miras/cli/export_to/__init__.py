"""A model for other engines."""
