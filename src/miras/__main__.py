"""`python -m miras`: the same as `miras`, for launchers that want a module (`torchrun -m miras train ...`)."""

from miras.cli.main import main

main()
