"""python -m cvae_lightning.inpaint run=<run directory> mask=bottom: draw what is missing in images."""

from cvae_lightning.cli.main import main

if __name__ == "__main__":
    main("inpaint")
