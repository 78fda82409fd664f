"""python -m cvae_lightning.reconstruct run=<run directory>: show images beside their reconstructions."""

from cvae_lightning.cli.main import main

if __name__ == "__main__":
    main("reconstruct")
