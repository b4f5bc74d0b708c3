"""Questions with right answers of our own making: parts, dialogues, names, behaviour."""
