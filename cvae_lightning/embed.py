"""python -m cvae_lightning.embed run=<run directory>: where the images of a split lie in the latents."""

from cvae_lightning.cli.command import run_command

if __name__ == "__main__":
    run_command("embed")
