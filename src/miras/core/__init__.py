"""The vocabulary and the exact parts: types, grammar, selection, masks, photos, errors. No torch."""
