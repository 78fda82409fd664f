"""python -m cvae_lightning: train and evaluate a model; resume=<run directory> continues a run."""

from cvae_lightning.cli.main import main

if __name__ == "__main__":
    main("train")
