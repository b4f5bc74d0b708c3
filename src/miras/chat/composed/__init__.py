"""Any vision-language model with any segmenter, in the same conversation: a talker for the words, a segmenter for the
pixels, and the session's own memory, operators, undo and export around them."""
