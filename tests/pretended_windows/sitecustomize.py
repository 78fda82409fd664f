"""Windows, as far as a program notices it, on Linux: with this folder in PYTHONPATH, each Python process pretends it.

For the modules of this project, `sys.platform` is "win32", and what only Unix has is missing. For all code, files are
as there: one that the process has opened or mapped can't be removed, replaced or shortened, a folder in which it has an
open file can't be renamed, a folder can't be opened, some names are forbidden, links can't be made, and processes are
spawned. Text goes to files and to the standard streams in code page 1252, unless the encoding is stated; a module of
this project that leaves it open is refused. Separators and drive letters are not pretended.
"""

import builtins
import io
import multiprocessing
import os
import re
import shutil
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any

OURS = ("cvae_lightning", "hydra_plugins.cvae_lightning")
UNIX_MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
UNIX_NAMES = {
    "os": re.compile(
        r"O_NOFOLLOW|O_DIRECTORY|O_CLOEXEC|O_NONBLOCK|O_SYNC|pread|pwrite|fork|forkpty|getuid|geteuid|getgid|getegid"
        r"|uname|statvfs|fstatvfs|sched_.*|sysconf|setsid|getsid|killpg|getpgid|nice|mkfifo|mknod|chown|fchown|lchown"
        r"|fchmod|wait|wait[34]|getloadavg|posix_.*|sync|fdatasync|sendfile|memfd_create|WNOHANG|.*xattr"
    ),
    "signal": re.compile(
        r"SIGKILL|SIGHUP|SIGQUIT|SIGUSR[12]|SIGALRM|SIGCHLD|SIGSTOP|SIGCONT|SIGPIPE|alarm|setitimer|pause|pthread_.*"
    ),
    "mmap": re.compile(r"MADV_.*|MAP_.*|PROT_.*"),
    "time": re.compile(r"tzset|clock_.*|CLOCK_.*"),
    "socket": re.compile(r"AF_UNIX"),
    "sys": re.compile(r"abiflags"),
}
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]|[. ]$')


class OfWindows(types.ModuleType):
    """A module of the standard library without what only Unix has."""

    def __init__(self, module: types.ModuleType) -> None:
        super().__init__(module.__name__)
        self.__dict__.update(_module=module, _missing=UNIX_NAMES[module.__name__])

    def __getattr__(self, name: str) -> Any:
        if self._missing.fullmatch(name):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} on Windows")
        return "win32" if (self.__name__, name) == ("sys", "platform") else getattr(self._module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._module, name, value)


def import_for(
    name: str, importer: Any = None, local: Any = None, fromlist: Any = (), level: int = 0, true: Any = __import__
) -> Any:
    """What `import` gives to a module of this project."""
    if not str((importer or {}).get("__name__", "")).startswith(OURS):
        return true(name, importer, local, fromlist, level)
    if name in UNIX_MODULES:
        raise ModuleNotFoundError(f"No module named {name!r} on Windows", name=name)
    module = true(name, importer, local, fromlist, level)
    return of_windows.get(module.__name__, module)


def paths_in_use() -> Iterator[str]:
    """The files that this process has opened or mapped."""
    for opened in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # which is the one that lists the folder
            yield str(opened.readlink())
    with true_open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        for line in maps:
            yield line.rstrip("\n").split(maxsplit=5)[-1]


def refuse_in_use(path: Any) -> None:
    """Raises PermissionError if this process uses the file, or one below the folder."""
    place = Path(path).resolve()
    for used in paths_in_use():
        if Path(used).is_relative_to(place):
            raise PermissionError(13, "[WinError 32] The file is being used by this process", used)
    if place.is_file() and not place.stat().st_mode & 0o222:
        raise PermissionError(13, "[WinError 5] Access is denied: the file is read-only", str(place))


def refuse_name(path: Any) -> None:
    """Raises OSError if Windows refuses the name."""
    if isinstance(path, int) or str(path).startswith(("/dev/", "/proc/", "/sys/")):
        return
    name = os.fsdecode(path)
    for part in PurePath(name).parts:
        if part not in ("/", ".", "..") and (FORBIDDEN.search(part) or RESERVED.fullmatch(part)):
            raise OSError(22, "[WinError 123] The name of the file is not allowed", name)


def removing(function: Callable[..., Any]) -> Callable[..., Any]:
    """os.unlink, os.remove, os.rmdir or os.truncate of Windows."""

    def of_windows(path: Any, *rest: Any, **options: Any) -> Any:
        if options.get("dir_fd") is None:
            refuse_in_use(path)
        return function(path, *rest, **options)

    return of_windows


def moving(function: Callable[..., Any], replaces: bool) -> Callable[..., Any]:
    """os.rename or os.replace of Windows."""

    def of_windows(source: Any, target: Any, **options: Any) -> Any:
        refuse_name(target)
        refuse_in_use(source)
        if os.path.lexists(target):
            if not replaces or Path(target).is_dir():
                raise FileExistsError(17, "[WinError 183] The file exists already", os.fspath(target))
            refuse_in_use(target)
        return function(source, target, **options)

    return of_windows


def making(function: Callable[..., Any]) -> Callable[..., Any]:
    """os.mkdir or os.open of Windows."""

    def of_windows(path: Any, *rest: Any, **options: Any) -> Any:
        refuse_name(path)
        if function is true_os_open and Path(path).is_dir():
            raise PermissionError(13, "A folder can't be opened", os.fspath(path))
        return function(path, *rest, **options)

    return of_windows


def open_of_windows(
    file: Any, mode: str = "r", buffering: int = -1, encoding: str | None = None, *rest: Any, **options: Any
) -> Any:
    """`open` of Windows."""
    refuse_name(file)
    if "b" not in mode and encoding in (None, "locale"):
        if encoding is None:
            warnings.warn("the encoding is left open", EncodingWarning, stacklevel=2)
        encoding = "cp1252"
    return true_open(file, mode, buffering, encoding, *rest, **options)


def no_links(*_: Any, **__: Any) -> None:
    """os.symlink of Windows for a person without special rights."""
    raise OSError(22, "[WinError 1314] A required privilege is not held by the client")


true_open, true_os_open = io.open, os.open
of_windows = {name: OfWindows(__import__(name)) for name in UNIX_NAMES}

os.unlink, os.remove, os.rmdir = removing(os.unlink), removing(os.remove), removing(os.rmdir)
os.truncate = removing(os.truncate)
os.rename, os.replace = moving(os.rename, replaces=False), moving(os.replace, replaces=True)
os.mkdir, os.open, os.symlink = making(os.mkdir), making(os.open), no_links
io.open = builtins.open = open_of_windows
shutil._use_fd_functions = False  # type: ignore[attr-defined]
del os.fork
multiprocessing.set_start_method("spawn", force=True)
for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="cp1252", errors=stream.errors)
warnings.simplefilter("ignore", EncodingWarning)
warnings.filterwarnings("error", category=EncodingWarning, module="cvae_lightning")
builtins.__import__ = import_for  # type: ignore[assignment]
