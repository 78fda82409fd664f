"""python -m cvae_lightning.traverse run=<run directory>: what each latent does."""

from cvae_lightning.cli.command import run_command

if __name__ == "__main__":
    run_command("traverse")
