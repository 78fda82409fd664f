"""python -m cvae_lightning.report sweep=<sweep directory>: what a sweep came to."""

from cvae_lightning.cli.command import run_command

if __name__ == "__main__":
    run_command("report")
