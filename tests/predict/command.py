"""`miras` with the written model, as a program: also in the processes that it begins."""

from tests.predict.made import install

install()

if __name__ == "__main__":
    from miras.cli.main import main

    main()
