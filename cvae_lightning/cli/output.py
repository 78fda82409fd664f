"""Output to a terminal, or into a pipe that may close, in any encoding."""

import codecs
import io
import logging
import os
import sys
import threading
from typing import TextIO, cast


class Output(io.TextIOWrapper):
    """A standard stream that drops its text once nobody reads it, as behind `| head -1`; the work continues."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())


def guard_standard_streams() -> None:
    """Let a command continue if the pipe behind it is closed, or if the encoding of its output lacks a character."""
    codecs.register_error("printed", _printed)
    sys.stdout, sys.stderr = _guarded(sys.stdout), _guarded(sys.stderr)


def print_errors_once() -> None:
    """Keep tracebacks of a full disk from the terminal, because one sentence says it already.

    TensorBoard's thread prints one, and the next call that writes raises the same error; logging prints one for each
    line that does not fit into train.log.
    """
    threading.excepthook = lambda args: None if isinstance(args.exc_value, OSError) else threading.__excepthook__(args)
    logging.raiseExceptions = False


def _guarded(stream: TextIO | None) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):  # closed, or a notebook's
        return cast(TextIO, stream)
    return Output(stream.buffer, stream.encoding, "printed", line_buffering=stream.line_buffering)


def _printed(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace a character that the encoding lacks by an escape, and an undecodable byte of a file name by itself."""
    assert isinstance(error, UnicodeEncodeError)
    first = error.object[error.start]
    if "\udc80" <= first <= "\udcff":
        return first.encode("ascii", "surrogateescape"), error.start + 1
    return first.encode("ascii", "backslashreplace"), error.start + 1
