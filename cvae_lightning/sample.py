"""python -m cvae_lightning.sample run=<run directory>: draw new images from a trained model."""

from cvae_lightning.cli.main import main

if __name__ == "__main__":
    main("sample")
