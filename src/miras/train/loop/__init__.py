"""How it is learnt: steps, averages, checkpoints, several processes, validation."""
