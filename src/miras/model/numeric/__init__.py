"""What our model does around its networks, in numpy: the same for every engine, and without torch."""
