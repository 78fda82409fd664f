"""python -m cvae_lightning.judge data=<name>: train the classifier that judges samples."""

from cvae_lightning.cli.main import main

if __name__ == "__main__":
    main("judge")
