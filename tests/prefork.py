"""A process that has imported some modules and forks for every command: the imports take most of a command's time.

Each command is still a process of its own, with its own folder, environment, umask and exit status.
`python prefork.py MODULE...` imports the modules and then answers requests, one line of JSON each.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, NoReturn


class Answer(NamedTuple):
    """What a command printed, its exit status, and the modules that were imported in the end."""

    returncode: int
    stdout: str
    stderr: str
    modules: set[str]


class Prefork:
    """The side of the tests. The server starts with the first command, and ends with the tests."""

    def __init__(self, *modules: str) -> None:
        self.modules = modules
        self.lock = threading.Lock()
        self.server: subprocess.Popen[str] | None = None

    def run(self, module: str, arguments: list[str], cwd: Path, env: dict[str, str]) -> Answer:
        """What comes of `python -m module *arguments`."""
        with self.lock, TemporaryDirectory() as folder:
            files = {name: Path(folder, name) for name in ("out", "err", "modules")}
            umask = os.umask(0)
            os.umask(umask)
            request = {"module": module, "arguments": arguments, "cwd": str(cwd), "env": env, "umask": umask}
            status = self._ask({**request, **{name: str(file) for name, file in files.items()}})
            out, err, modules = (file.read_text() for file in files.values())
            return Answer(status, out, err, set(modules.split()))

    def _ask(self, request: dict[str, Any]) -> int:
        pipe = subprocess.PIPE
        if self.server is None:
            words = [sys.executable, __file__, *self.modules]
            self.server = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True)
        assert self.server.stdin
        assert self.server.stdout
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def close(self) -> None:
        """End the server, if it was started."""
        if self.server is not None:
            self.server.kill()
            self.server.communicate()
            self.server = None


def serve() -> None:
    """Fork for each line of standard input, and print the exit status of the command."""
    for line in sys.stdin:
        if not (process := os.fork()):
            become(**json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


def become(
    module: str, arguments: list[str], cwd: str, env: dict[str, str], umask: int, out: str, err: str, modules: str
) -> NoReturn:
    """Turn this process into `python -m module *arguments`."""
    writing = os.O_WRONLY | os.O_CREAT
    for number, (file, flags) in enumerate([(os.devnull, os.O_RDONLY), (out, writing), (err, writing)]):
        opened = os.open(file, flags)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    os.umask(umask)
    sys.argv[1:] = arguments
    atexit.register(lambda: Path(modules).write_text("\n".join(sys.modules), encoding="utf-8"))
    status = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    for thread in set(threading.enumerate()) - {threading.main_thread()}:
        if not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # an interpreter's own end visits every object, and so copies every page of the parent's memory


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])  # the package is imported from the repository
    for name in sys.argv[1:]:
        importlib.import_module(name)
    gc.freeze()  # a collection in a child would copy every page, too
    serve()
