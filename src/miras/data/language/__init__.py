"""Words: rules of English, wordings, what things are called and what they are for. No photo, no file."""
