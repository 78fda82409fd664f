"""python -m cvae_lightning.evaluate run=<run directory>: measure a finished run again."""

from cvae_lightning.cli.main import main

if __name__ == "__main__":
    main("evaluate")
