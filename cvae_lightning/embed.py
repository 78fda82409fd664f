"""python -m cvae_lightning.embed run=<run directory>: map the images of a split by their latents."""

from cvae_lightning.cli.main import main

if __name__ == "__main__":
    main("embed")
