"""SIGINT and SIGTERM as an exception, so that a command cleans up before it ends."""

import signal
from types import FrameType
from typing import NoReturn


class Interrupted(BaseException):
    """SIGINT or SIGTERM arrived."""

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(f"Interrupted by {signal.Signals(signum).name}.")


def interrupt_on_signals() -> None:
    """Let the first SIGINT or SIGTERM raise Interrupted in the main thread; a second one ends the process at once."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, _interrupt)


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signum, signal.SIG_DFL)
    raise Interrupted(signum)
