"""What is learnt: the two stages, their losses, the module that is trained."""
