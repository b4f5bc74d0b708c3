"""Language models behind an address: what is asked, answered, paid, and kept."""
