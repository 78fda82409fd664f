"""What the documentation site has beside the Markdown of docs/, all made anew at each build (see mkdocs.yml).

* A page for each command, from its own --help, and the Python API, from docstrings.
* The notebook as a page.
* Whatever a page links to in the repository, as it is at this commit: code as a page, pictures and tables as files. So
  the links of plain Markdown work on a forge and on the site, and a link to nothing fails the build.
* The explorer of the model `pretrained:best`, live.
* The files of MathJax, from an installed package, so that formulas are rendered without a network.
"""

import base64
import html
import json
import os
import posixpath
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from griffe import Extension, Object
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from cvae_lightning.cli.commands import COMMANDS
from cvae_lightning.exporters.explorer import write_explorer
from cvae_lightning.runs.run import Run

ROOT = Path(__file__).parent
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".js": "javascript", ".css": "css", ".txt": "text"}
AS_THEY_ARE = {".png", ".webp", ".html", ".csv", ".ipynb"}
FENCED = re.compile(r"(^```\w*\n.*?^```$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(!?\[(?:[^\]\[]|\[[^\]]*\])*\])\(([^)\s]+)\)")
MARKER = re.compile(r"^<!-- .*? -->$", re.MULTILINE)
WIDE = "---\nhide: [toc]\n---\n"
UNSEARCHED = "---\nhide: [toc]\nsearch:\n  exclude: true\n---\n"

LIVE = "live/explorer.html"
FRAME = (
    f'<iframe src="../{LIVE}" title="The explorer of experiment=best" loading="lazy" '
    'style="width: 100%; height: 46rem; border: 0"></iframe>\n\n'
    f"This is the explorer of `pretrained:best` itself, which can also be opened [as a page of its own]({LIVE})."
)
"""What stands on the site in place of the picture after <!-- live explorer -->."""

MATHJAX = (
    "MathJax.js",
    "LICENSE",
    "config",
    "fonts",
    "extensions",
    "jax/element",
    "jax/input/TeX",
    "jax/output/HTML-CSS",
)
"""What formulas need of MathJax."""

API = {
    "Runs and sweeps": ["runs.run.Run", "runs.sweep.Sweep"],
    "Models and data": [
        "models.vae.VAE",
        "models.cvae.CVAE",
        "models.m2.M2",
        "models.m1m2.M1M2",
        "data.datamodule.DataModule",
    ],
    "Drawing from a model": ["models.inference"],
    "Parts": ["models.likelihoods", "models.bounds", "models.priors", "models.samplers", "models.optimizers"],
    "Networks": ["networks.mlp", "networks.conv", "networks.residual", "networks.injection"],
    "Labels": ["core.conditions"],
    "Evaluators": ["evaluators.evaluator"],
    "Plug-ins": ["core.plugins.trust"],
}
"""The headings of the page on the Python API, and the modules and classes below them."""

MEMBERS = {
    "runs.run.Run": "complete status config metrics condition model sample reconstruct encode",
    "runs.sweep.Sweep": "runs complete missing failures",
    "data.datamodule.DataModule": "",
}
"""What is shown of a class, where that is not everything with a docstring."""

origins: dict[str, str] = {}
"""The path in the repository of each page that has one, by its path in the site."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    origins.clear()
    for file in files.documentation_pages():
        origins[file.src_uri] = f"docs/{file.src_uri}"
    for name, description in COMMANDS.items():
        files.append(File.generated(config, f"commands/{name}.md", content=page_of_command(name, description)))
    files.append(File.generated(config, "commands/index.md", content=page_of_commands()))
    files.append(File.generated(config, "api.md", content=page_of_api()))
    files.append(File.generated(config, LIVE, content=live_explorer()))
    text, pictures = page_of_notebook(ROOT / "docs" / "tour.ipynb")
    files.append(File.generated(config, "tour.md", content=text))
    for name, content in pictures.items():
        files.append(File.generated(config, name, content=content))
    origins["tour.md"] = "docs/tour.ipynb"
    texts = {origin: (ROOT / origin).read_text() for name, origin in origins.items() if name != "tour.md"}
    texts["docs/tour.ipynb"] = text
    for file in [*linked_files(texts, config), *files_of_mathjax(config)]:
        files.append(file)
    return files


def live_explorer() -> bytes:
    run = Run("pretrained:best")
    with tempfile.TemporaryDirectory() as folder:
        list(write_explorer(run.model(), run.metrics, Path(folder)))
        return (Path(folder) / "explorer.html").read_bytes()


def files_of_mathjax(config: MkDocsConfig) -> Iterator[File]:
    static = Path(str(distribution("jupyter_server_mathjax").locate_file("jupyter_server_mathjax/static")))
    for needed in MATHJAX:
        found = static / needed
        for path in sorted(filter(Path.is_file, found.rglob("*"))) if found.is_dir() else [found]:
            if "a11y" in path.parts:
                continue
            name = f"mathjax/{path.relative_to(static).as_posix()}"
            yield File.generated(config, name, abs_src_path=str(path))


def linked_files(texts: dict[str, str], config: MkDocsConfig) -> Iterator[File]:
    """Whatever these pages link to outside docs/, and whatever that links to."""
    waiting, seen = list(texts.items()), set(texts)
    while waiting:
        origin, text = waiting.pop()
        for target in targets(text, origin):
            if target in seen or target.startswith("docs/") or not (ROOT / target).exists():
                continue
            seen.add(target)
            name = name_on_site(target)
            if name.endswith(".md"):
                content = page_of_file(ROOT / target)
                origins[name] = target if (ROOT / target).is_file() else f"{target}/."
                waiting.append((origins[name], content))
                yield File.generated(config, name, content=UNSEARCHED + content)
            else:
                yield File.generated(config, name, abs_src_path=str(ROOT / target))


def targets(text: str, origin: str) -> Iterator[str]:
    """The paths in the repository of all links in a page."""
    for part in FENCED.split(text):
        if not part.startswith("```"):
            for _, target in LINK.findall(part):
                if not re.match(r"[a-z]+:|#", target):
                    yield resolved(target.partition("#")[0], origin)


def resolved(target: str, origin: str) -> str:
    """The path in the repository of a link in the page whose path is `origin`."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
    return f"{path}/README.md" if (ROOT / path / "README.md").is_file() else path


def name_on_site(path: str) -> str:
    """Where a path of the repository is in the site, as a path to write a link to."""
    if path == "docs/tour.ipynb":
        return "tour.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    shown = path.replace(".ci/", "ci/").replace(".github/", "github/")  # a site leaves out what begins with a dot
    if (ROOT / path).is_dir():
        return f"source/{shown}/index.md"
    suffix = Path(path).suffix
    return f"source/{shown}" if suffix in AS_THEY_ARE or suffix == ".md" else f"source/{shown}.md"


def page_of_file(path: Path) -> str:
    """Markdown as it is, code in a fence, and a folder as a list of what it has."""
    name = path.relative_to(ROOT).as_posix()
    if path.is_dir():
        entries = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith((".", "__pycache__")))
        return f"# {name}\n\n" + "".join(f"* [{entry}]({entry})\n" for entry in entries)
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        return text
    fence = "`" * 6
    return f"# {name}\n\n{fence}{LANGUAGES.get(path.suffix, 'text')}\n{text.rstrip()}\n{fence}\n"


def page_of_command(name: str, description: str) -> str:
    module = "cvae_lightning" if name == "train" else f"cvae_lightning.{name}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CVAE_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    words = [sys.executable, "-m", module, "--help"]
    answer = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
    sentence = html.escape(description[0].upper() + description[1:].rstrip("."))
    printed = f"This is what `python -m {module} --help` prints:\n\n```text\n{answer.stdout.strip()}\n```\n"
    return f"{WIDE}# {name}\n\n{sentence}. {printed}"


def page_of_commands() -> str:
    rows = "".join(f"| [{name}]({name}.md) | {html.escape(description)} |\n" for name, description in COMMANDS.items())
    return (
        "# Commands\n\n`cvae-lightning <command>` is the same as `python -m cvae_lightning.<command>`, "
        "and `cvae-lightning train` the same as `python -m cvae_lightning`.\n\n"
        f"| command | what it does |\n|---|---|\n{rows}"
    )


def page_of_api() -> str:
    lines = [
        "# Python API",
        "",
        "`Run`, `Sweep`, `VAE`, `CVAE`, `DataModule` and `trust` are imported from `cvae_lightning` itself. "
        "The other names are those that a part of your own may need ([Extending](extending.md)).",
    ]
    for heading, names in API.items():
        lines += ["", f"## {heading}", *map(entry, names)]
    return "\n".join(lines) + "\n"


def entry(name: str) -> str:
    """The directive that shows a module or a class."""
    members = f"\n    options:\n      members: [{', '.join(MEMBERS[name].split())}]" if name in MEMBERS else ""
    return f"\n::: cvae_lightning.{name}{members}"


def page_of_notebook(path: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook with its outputs as Markdown, and the pictures that it shows."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        language = "bash" if source.startswith("!") else "python"
        parts.append(f"```{language}\n{source.removeprefix('!')}\n```")
        printed = ""
        for output in cell["outputs"]:
            data: dict[str, Any] = output.get("data", {})
            kind = next((kind for kind in ("image/png", "image/jpeg") if kind in data), None)
            if kind:
                name = f"tour_{len(pictures)}.{kind.partition('/')[2]}"
                pictures[name] = base64.b64decode("".join(data[kind]))
                parts.append(f"![A picture that this cell shows]({name})")
            else:
                printed += "".join(output.get("text", data.get("text/plain", "")))
        if printed.strip():
            parts.append(f"```text\n{printed.rstrip()}\n```")
    parts.insert(1, "This page is [a notebook](tour.ipynb), with what it printed.")
    return "\n\n".join(parts) + "\n", pictures


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    origin = origins.get(page.file.src_uri)
    if origin is None:
        return markdown

    def on_site(found: re.Match[str]) -> str:
        text, target = found[1], found[2]
        if re.match(r"[a-z]+:|#", target):
            return found[0]
        path, _, anchor = target.partition("#")
        name = resolved(path, origin)
        # the notebook itself is linked from its page alone
        place = "tour.ipynb" if page.file.src_uri == "tour.md" and path == "tour.ipynb" else name_on_site(name)
        if not (ROOT / name).exists():
            place = target if name.startswith("docs/") else place
        link = posixpath.relpath(place, posixpath.dirname(page.file.src_uri) or ".")
        return f"{text}({link}{'#' if anchor else ''}{anchor})"

    markdown = re.sub(r"<!-- live explorer -->\n!.*", FRAME, markdown)
    parts = FENCED.split(markdown)
    return "".join(part if part.startswith("```") else LINK.sub(on_site, MARKER.sub("", part)) for part in parts)


class Doctests(Extension):
    """Puts the examples in docstrings, which begin with >>>, into fences."""

    def on_instance(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = re.sub(r"((?:^>>> .*\n?)+)", r"```python\n\1\n```\n", obj.docstring.value, flags=re.M)
