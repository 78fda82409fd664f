"""metadata.csv: the conditions of the images in a folder, one row per image and one column per condition.

The file is CSV in UTF-8 with a header: commas between cells, cells with commas or quotes in double quotes. The column
`file_name` has paths relative to the folder of the file; an empty cell is unknown.
"""

import csv
import posixpath
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cvae_lightning.core.errors import UserError, refuse

METADATA = "metadata.csv"
FILE_NAME = "file_name"

Table = dict[str, list[str]]
"""The cells of each column, by its name; one cell per image, empty if it is unknown."""


def read_metadata(folder: Path, prefixes: Sequence[str], names: Sequence[str]) -> Table | None:
    """The cells for the images `names`, from the metadata.csv in `folder` or those in its subfolders `prefixes`.

    None if there is no such file. Raises UserError if a file cannot be read as described above, if an image has no row
    or several, or if a row is of no image.
    """
    root, inner = folder / METADATA, [folder / prefix / METADATA for prefix in prefixes if prefix]
    present = [file for file in inner if file.is_file()]
    if root.is_file() and present:
        refuse(f"one {METADATA}, or one per split", "data.path", f"{root} and {present[0]}", "Remove one of them.")
    if not root.is_file() and not present:
        return None
    if not root.is_file() and (missing := set(inner) - set(present)):
        refuse(f"a {METADATA} for each split", "data.path", f"none in {min(missing).parent}", "Add the missing file.")
    tables = [_rows(file) for file in (present or [root])]
    if any(header != tables[0][0] for header, _ in tables):
        refuse("the same columns for each split", f"{METADATA} in {folder}", tables[1][0], "Add or remove columns.")
    rows: dict[str, list[str]] = {}
    for file, (_, found) in zip(present or [root], tables, strict=True):
        prefix = file.parent.relative_to(folder).as_posix()
        rows |= {posixpath.normpath(posixpath.join(prefix, name)): cells for name, cells in found.items()}
    _check_rows(rows, names, folder)
    header = tables[0][0]
    return {column: [rows[name][at] for name in names] for at, column in enumerate(header) if column}


def _rows(file: Path) -> tuple[list[str], dict[str, list[str]]]:
    """The columns of a file beside file_name, and the cells of each row by its file name."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, strict=True)
            lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"Expected CSV in UTF-8, got {file} ({error}). Save it as such.") from error
    header = lines[0][1] if lines else []
    if FILE_NAME not in header:
        refuse(f"a column {FILE_NAME} in {file}", "its header", header, "Name the column of the paths so.")
    if twice := [name for name, times in Counter(filter(None, header)).items() if times > 1]:
        refuse(f"columns of different names in {file}", "its header", twice[0], "Rename or remove one of them.")
    at = header.index(FILE_NAME)
    rows: dict[str, list[str]] = {}
    for number, cells in lines[1:]:
        if len(cells) != len(header):
            refuse(f"{len(header)} cells as in the header", f"{file}, line {number}", len(cells), "Correct that line.")
        name = posixpath.normpath(cells[at].replace("\\", "/")) if cells[at] else ""
        if not name or name in rows:
            what, remedy = "one row per image", "Remove or correct that line."
            refuse(what, f"{file}, line {number}", f"another row for {name}" if name else "no file name", remedy)
        rows[name] = cells[:at] + cells[at + 1 :]
    return header[:at] + header[at + 1 :], rows


def _check_rows(rows: dict[str, list[str]], names: Sequence[str], folder: Path) -> None:
    if missing := sorted(rows.keys() - set(names)):
        got = f"{len(missing)} rows of others, such as {missing[0]}"
        remedy = (
            f"Remove these rows, or put the files into {folder}; hidden files and files of other kinds do not count."
        )
        refuse("rows of images that exist", METADATA, got, remedy)
    if without := [name for name in names if name not in rows]:
        got = f"none for {len(without)} images, such as {without[0]}"
        remedy = "Add rows, with empty cells if nothing is known, or remove these images."
        refuse("a row for each image", METADATA, got, remedy)
