"""python -m cvae_lightning.traverse run=<run directory>: show what each latent dimension changes."""

from cvae_lightning.cli.main import main

if __name__ == "__main__":
    main("traverse")
