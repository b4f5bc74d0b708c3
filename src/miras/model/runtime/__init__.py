"""What a conversation needs of our model, whatever computes it."""
