"""What `miras bench all` measures: the machine, the parts of an answer, whole commands; each beside its limit."""
