"""What judges and people rate alike: conversations of a run, criteria, scores, their figures."""
