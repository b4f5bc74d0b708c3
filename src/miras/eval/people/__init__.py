"""A blinded study with people: design, sheets, answers, figures, report."""
