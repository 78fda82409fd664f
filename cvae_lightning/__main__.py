"""python -m cvae_lightning: train and evaluate a model; resume=<run directory> continues a run."""

from cvae_lightning.cli.command import run_command

if __name__ == "__main__":
    run_command("train")
