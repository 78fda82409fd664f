"""The site: mkdocs.yml has every page and every command; `make docs-site` builds it."""

import re

from cvae_lightning.cli.commands import COMMANDS
from cvae_lightning.core.build import PACKAGE

ROOT = PACKAGE.parent


def pages_of_the_site() -> set[str]:
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    return set(re.findall(r"([\w/]+\.md)$", nav, re.M))


def test_every_page_is_in_the_navigation() -> None:
    assert {page.name for page in (ROOT / "docs").glob("*.md")} <= pages_of_the_site()


def test_every_command_is_in_the_navigation() -> None:
    commands = {page for page in pages_of_the_site() if page.startswith("commands/")}
    assert commands == {f"commands/{name}.md" for name in [*COMMANDS, "index"]}
