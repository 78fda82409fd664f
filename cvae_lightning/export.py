"""python -m cvae_lightning.export run=<run directory>: a trained model for use without this project."""

from cvae_lightning.cli.command import run_command

if __name__ == "__main__":
    run_command("export")
