"""python -m cvae_lightning.score run=<run directory>: how likely images are, and which class they probably have."""

from cvae_lightning.cli.main import main

if __name__ == "__main__":
    main("score")
