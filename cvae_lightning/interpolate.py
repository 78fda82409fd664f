"""python -m cvae_lightning.interpolate run=<run directory>: from one image to another, through the latents."""

from cvae_lightning.cli.command import run_command

if __name__ == "__main__":
    run_command("interpolate")
