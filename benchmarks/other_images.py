"""How well the columns of scores.csv tell other images from those of the data set that a model was trained on.

    python benchmarks/other_images.py <MNIST> <Fashion-MNIST> <run directory> ... [--fonts <file> ...]

The first two are folders with these data sets. For each run and each kind of other images, it prints the area under
the ROC curve between 500 of these and 500 test images of the run's own data set, all of unknown label, with 50
importance weights per class: 1 is perfect, 0.5 is chance, and below that the other images look more usual than the
real ones. `make docs` reads the numbers from multirun/reference/other_images/runs.csv, which is written anew.

The kinds are the other data set; capitals in the DejaVu fonts that come with Matplotlib; hiragana, the ten letters of
KMNIST in the given fonts; uniform noise; and digits reduced to 5x5 pixels. On Debian, the packages
fonts-kouzan-mouhitsu and fonts-aoyagi-kouzan-t have four brush fonts. Letters are turned by up to 10 degrees. The same
files and fonts give the same images.
"""

import argparse
import string
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from kept import keep
from matplotlib import get_data_path
from pages.reference import AREAS
from PIL import Image, ImageDraw, ImageFont
from sklearn.metrics import roc_auc_score

from cvae_lightning import Run
from cvae_lightning.cli.invocation import Invocation
from cvae_lightning.data.idx_source import IdxSource

Bytes = npt.NDArray[np.uint8]  # (number, height, width)

NUM, SIDE = 500, 28
HIRAGANA = "おきすつなはまやれを"
DEJAVU = sorted(Path(get_data_path(), "fonts", "ttf").glob("DejaVuS*.ttf"))
CAPITALS = [font for font in DEJAVU if "Display" not in font.name]  # that one has only symbols
MOST_TURNED = 10  # degrees
DRAWN_AT = 112  # pixels: four times the size of an image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mnist", type=Path)
    parser.add_argument("fashion", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--fonts", type=Path, nargs="+", default=[])
    asked = parser.parse_args()
    tests = {"mnist": test_images("MNIST", asked.mnist), "fashion_mnist": test_images("FashionMNIST", asked.fashion)}
    kinds = {**tests, "letters": letters(string.ascii_uppercase, CAPITALS), "noise": noise(), "blurred": blurred(tests)}
    if asked.fonts:
        kinds["hiragana"] = letters(HIRAGANA, sorted(asked.fonts))
    rows = []
    for path in asked.runs:
        run = Run(path)
        own = run.metrics["dataset"]["name"]
        scores = {kind: scores_of(path, images) for kind, images in kinds.items()}
        areas = {
            f"{kind}/{name}": area(scores[own][name], scores[kind][name])
            for kind in kinds
            if kind != own
            for name in AREAS
        }
        of_run = {"dataset": own, "seed": run.raw_config.seed, "commit": run.metrics["environment"]["commit"]}
        rows.append({**of_run, **areas})
    frame = pd.DataFrame(rows)
    print(frame.T.to_string())
    keep(frame, "other_images/runs")


def area(usual: pd.Series, others: pd.Series) -> float:
    """The area under the ROC curve of a score that should be higher for `others`."""
    return float(roc_auc_score([0] * len(usual) + [1] * len(others), pd.concat([usual, others])))


def scores_of(run: Path, images: Bytes) -> pd.DataFrame:
    """The rows that `python -m cvae_lightning.score` writes for `images`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "images.npz")
        np.savez(file, images=images)
        words = [
            f"run={run}",
            f"images={file}",
            "invert=false",
            f"num={NUM}",
            "num_samples=50",
            f"out={folder}",
            "format=npz",
        ]
        if Invocation("score", words).run():
            raise SystemExit(1)
        return pd.read_csv(Path(folder, "scores.csv"))


def test_images(name: str, folder: Path) -> Bytes:
    """The first images of the test split of a data set of torchvision's MNIST family."""
    return IdxSource(name.lower(), name, str(folder)).test_split().images[:NUM, 0].numpy()


def noise() -> Bytes:
    return np.random.default_rng(0).integers(0, 256, (NUM, SIDE, SIDE), dtype=np.uint8)


def blurred(tests: dict[str, Bytes]) -> Bytes:
    return np.stack([resized(resized(image, 5), SIDE) for image in tests["mnist"]])


def resized(image: Bytes, side: int) -> Bytes:
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


def letters(characters: str, fonts: Sequence[Path]) -> Bytes:
    """White letters on black, as large and as central as MNIST's digits: each from a random font, turned a little."""
    random = np.random.default_rng(0)
    images = []
    for _ in range(NUM):
        font = ImageFont.truetype(str(random.choice([str(font) for font in fonts])), 80)
        page = Image.new("L", (DRAWN_AT, DRAWN_AT))
        middle = (DRAWN_AT / 2, DRAWN_AT / 2)
        ImageDraw.Draw(page).text(middle, random.choice(list(characters)), fill=255, font=font, anchor="mm")
        turned = page.rotate(random.uniform(-MOST_TURNED, MOST_TURNED), Image.Resampling.BICUBIC)
        images.append(centred(turned))
    return np.stack(images)


def centred(page: Image.Image) -> Bytes:
    """What the page shows, 20 pixels on its longer side, in the middle of an image."""
    shown = page.crop(page.getbbox())
    scale = 20 / max(shown.size)
    width, height = (max(1, round(scale * size)) for size in shown.size)
    image = Image.new("L", (SIDE, SIDE))
    small = shown.resize((width, height), Image.Resampling.LANCZOS)
    image.paste(small, ((SIDE - width) // 2, (SIDE - height) // 2))
    return np.asarray(image)


if __name__ == "__main__":
    main()
