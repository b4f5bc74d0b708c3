"""Commands that measure: runs, comparisons, judges, studies with people, metrics alone."""
