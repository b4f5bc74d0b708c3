"""What a run is, in one file: recipes and chains, every fault named at once."""
