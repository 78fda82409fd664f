"""python -m cvae_lightning.interpolate run=<run directory>: show a path from one image to another."""

from cvae_lightning.cli.main import main

if __name__ == "__main__":
    main("interpolate")
