"""What is drawn from one image, from a few, and of many classes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import composed, untrained_run, write_idx_files
from matplotlib.collections import PathCollection

from cvae_lightning.core.build import build
from cvae_lightning.core.errors import UserError
from cvae_lightning.core.pictures import scatter
from cvae_lightning.data.datamodule import DataModule
from cvae_lightning.drawing.commands import embed, interpolate, reconstruct
from cvae_lightning.drawing.maps import map_of


@pytest.mark.parametrize("method", ["pca", "tsne"])
@pytest.mark.parametrize("num", [1, 2, 3, 4, 20, 31])
def test_any_number_of_points_has_a_map(num: int, method: str) -> None:
    points = map_of(torch.randn(num, 5), method)
    assert points.shape == (num, 2)
    assert points.isfinite().all()


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_equal_points_have_a_map(method: str) -> None:
    assert torch.equal(map_of(torch.ones(40, 5), method), torch.zeros(40, 2))


@pytest.mark.parametrize("labels", [[3, 7], range(10), range(12), [1, 46], range(200)])
def test_classes_have_colours_of_their_own_however_many(labels: Sequence[int], tmp_path: Path) -> None:
    figure = scatter(torch.randn(len(labels), 2), torch.tensor(list(labels)), "Points")
    figure.savefig(tmp_path / "map.png")
    drawn = [part for part in figure.axes[0].collections if isinstance(part, PathCollection)]
    colours = torch.tensor(np.concatenate([part.get_facecolor() for part in drawn]))
    assert len(drawn) == len(labels)
    assert len(colours.unique(dim=0)) == len(labels)
    if len(labels) == 12:
        assert torch.cdist(colours, colours).fill_diagonal_(1).min() > 0.05, "the eye tells them apart"


@pytest.mark.parametrize("num", [1, 5])
def test_the_commands_draw_what_a_small_split_has(tmp_path: Path, num: int) -> None:
    write_idx_files(tmp_path, train=6 * num)
    data: DataModule = build(composed(f"data_dir={tmp_path}").data.module)
    data.setup("fit")
    data.setup("test")
    run = untrained_run(tmp_path / "run", f"data_dir={tmp_path}", dataset=data.description())
    where = [f"run={run.path}", f"out={tmp_path}/drawn"]
    for method in ("pca", "tsne"):
        embed(composed(*where, f"map={method}", config_name="embed"))
        with np.load(tmp_path / "drawn" / "embedding.npz") as archive:
            assert archive["map"].shape == (num, 2)
    reconstruct(composed(*where, config_name="reconstruct"))
    if num == 1:
        with pytest.raises(UserError, match="Expected pairs of images"):
            interpolate(composed(*where, config_name="interpolate"))
    else:
        interpolate(composed(*where, config_name="interpolate"))
        with np.load(tmp_path / "drawn" / "interpolations.npz") as archive:
            assert archive["labels"].shape == (2, 2)
