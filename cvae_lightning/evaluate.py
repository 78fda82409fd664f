"""python -m cvae_lightning.evaluate run=<run directory>: measure a finished run again."""

from cvae_lightning.cli.command import run_command

if __name__ == "__main__":
    run_command("evaluate")
