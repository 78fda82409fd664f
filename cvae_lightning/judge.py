"""python -m cvae_lightning.judge data=<name>: train a judge, and measure it on val and test."""

from cvae_lightning.cli.command import run_command

if __name__ == "__main__":
    run_command("judge")
