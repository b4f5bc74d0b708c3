"""Short dialogues made from annotations: targets of a photo, moves, what decides which follows which."""
