"""People rate a sample of a dataset: sheets out, sheets back, the report."""
