"""What a browser needs to draw masks itself: an engine, the graphs of our model, the words of a region."""
