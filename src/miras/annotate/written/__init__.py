"""Written words on real photographs, with their masks, and the conversations about them."""
