"""The pictures of a run, rendered as a person finds them."""

import pytest
from helpers import MakeRun, events
from PIL import Image

from cvae_lightning.training.train import train

pytestmark = pytest.mark.rendered


@pytest.mark.parametrize("model", ["cvae", "vae"])
def test_the_pictures_of_a_run_are_files_and_in_tensorboard(make_run: MakeRun, model: str) -> None:
    run = make_run("run", f"model={model}", "epochs=1")
    train(run)
    names = {"samples", "reconstructions", "loss"} | ({"samples_2_7_9"} if model == "cvae" else set())
    files = {path.stem: path for path in (run.path / "figures").glob("*.png")}
    assert files.keys() == names <= set(events(run).Tags()["images"])
    for path in files.values():
        with Image.open(path) as picture:
            assert min(picture.size) > 100
            darkest, brightest = picture.convert("L").getextrema()
            assert isinstance(darkest, int)
            assert darkest <= 40
            assert brightest == 255, "ink on white"
