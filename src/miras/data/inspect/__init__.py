"""Records looked at while they pass by: faults, figures, plots, sheets, the card."""
