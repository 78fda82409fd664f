"""The pictures of a run, rendered as a person finds them."""

import pytest
from helpers import MakeRun, events
from PIL import Image

from cvae_lightning.reports.content import picture_of_samples
from cvae_lightning.runs.run import Run
from cvae_lightning.training.train import train

pytestmark = pytest.mark.rendered


@pytest.mark.parametrize("model", ["cvae", "vae"])
def test_the_pictures_of_a_run_are_files_and_in_tensorboard(make_run: MakeRun, model: str) -> None:
    run = make_run("run", f"model={model}", "epochs=1")
    train(run)
    names = {"samples", "reconstructions", "loss"} | ({"samples_2_7_9"} if model == "cvae" else set())
    files = {path.stem: path for path in (run.path / "figures").glob("*.png")}
    shown = {name: events(run).Images(name)[-1].encoded_image_string for name in events(run).Tags()["images"]}
    assert files.keys() == names == shown.keys()
    for path in files.values():
        assert path.read_bytes() == shown[path.stem], "TensorBoard shows the same picture, rendered once"
        with Image.open(path) as picture:
            assert min(picture.size) > 100
            darkest, brightest = picture.convert("L").getextrema()
            assert isinstance(darkest, int)
            assert darkest <= 40
            assert brightest == 255, "ink on white"


def test_without_figures_the_rest_is_the_same_and_the_report_draws_what_it_shows(make_run: MakeRun) -> None:
    drawn, bare = make_run("drawn", "epochs=1"), make_run("bare", "epochs=1", "figures=none")
    train(drawn)
    train(bare)
    assert bare.metrics["val"] == drawn.metrics["val"]
    assert bare.metrics["weights_sha256"] == drawn.metrics["weights_sha256"]
    assert not (bare.path / "figures").exists()
    files = [picture_of_samples(run).read_bytes() for run in (drawn, bare)]
    assert files[0] == files[1]


def test_a_picture_that_cannot_be_drawn_is_left_out(make_run: MakeRun) -> None:
    run = make_run("run", "epochs=1", "figures=none")
    train(run)
    (run.path / "model.safetensors").unlink()
    assert not picture_of_samples(Run(run.path)).exists()
