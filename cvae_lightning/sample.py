"""python -m cvae_lightning.sample run=<run directory>: draw images from a trained model."""

from cvae_lightning.cli.command import run_command

if __name__ == "__main__":
    run_command("sample")
