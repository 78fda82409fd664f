"""python -m cvae_lightning.report sweep=<sweep directory>: compare the runs of a sweep."""

from cvae_lightning.cli.main import main

if __name__ == "__main__":
    main("report")
