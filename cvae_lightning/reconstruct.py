"""python -m cvae_lightning.reconstruct run=<run directory>: what a trained model makes of images."""

from cvae_lightning.cli.command import run_command

if __name__ == "__main__":
    run_command("reconstruct")
