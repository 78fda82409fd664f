"""Drawing with labels of any kind: class names, numbers, flags, and labels that are unknown."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import composed
from labelled_data import BIRDS, Labelled
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from PIL import Image

from cvae_lightning.core.conditions import Condition, Flags
from cvae_lightning.core.errors import UserError
from cvae_lightning.data.image_files import read_images
from cvae_lightning.drawing.commands import embed, inpaint, interpolate, reconstruct, sample, score, traverse
from cvae_lightning.drawing.embed import MOST_COMBINATIONS, _combinations
from cvae_lightning.drawing.interpolate import _ways
from cvae_lightning.drawing.labels import file_names
from cvae_lightning.models import inference
from cvae_lightning.runs.run import Run

DRAWINGS = {
    command.__name__: command for command in (sample, reconstruct, interpolate, traverse, embed, score, inpaint)
}
Draw = Callable[..., dict[str, Any]]
MakeRun = Callable[..., Run]


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Runs a drawing command; returns the arrays of the picture `name`, or of the only one."""

    def drawn(run: Run, command: str, *overrides: str, name: str = "*") -> dict[str, Any]:
        folder = tmp_path / "drawn" / str(len(list(tmp_path.glob("drawn/*"))))
        DRAWINGS[command](composed(f"run={run.path}", f"out={folder}", *overrides, config_name=command))
        (file,) = folder.glob(f"{name}.npz")
        with np.load(file, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}

    return drawn


def test_a_class_has_its_name_and_its_number(run_on: MakeRun, draw: Draw) -> None:
    run = run_on("some")
    named = draw(run, "sample", "labels=[dog,cat,null]", "num=2")
    assert named["labels"].tolist() == [1, 1, 0, 0, -1, -1]
    assert named["names"].tolist() == ["dog", "dog", "cat", "cat", "any", "any"]
    numbered = draw(run, "sample", "condition={species: [1, 0, null]}", "num=2")
    np.testing.assert_array_equal(named["images"], numbered["images"])
    assert torch.equal(torch.from_numpy(named["images"]), run.sample(["dog", "dog", "cat", "cat", None, None]))
    assert draw(run, "sample", "labels=cat", "num=1")["names"].tolist() == ["cat"]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("birds", [*BIRDS]),
        ("some", ["cat", "dog", "any"]),
        ("turned", ["digit 0, angle 0", "digit 1, angle 0", "digit 2, angle 0"]),
        ("half", ["digit 0, angle 0", "digit 1, angle 0", "digit 2, angle 0", "any digit, any angle"]),
        ("angle", ["angle -45", "angle -22.5", "angle 0", "angle 22.5", "angle 45"]),
        ("flags", ["red", "large", "two"]),
    ],
)
def test_without_labels_a_picture_has_a_row_for_each_that_there_is(
    run_on: MakeRun, draw: Draw, kind: str, names: list[str]
) -> None:
    assert draw(run_on(kind), "sample", "num=1")["names"].tolist() == names


def test_a_condition_has_a_value_or_a_list_of_values_for_each_column(run_on: MakeRun, draw: Draw) -> None:
    run = run_on("turned")
    drawn = draw(run, "sample", "condition={angle: 30, digit: [2, 0]}", "num=2")
    assert drawn["conditions"].tolist() == [[2, 30], [2, 30], [0, 30], [0, 30]]
    assert drawn["columns"].tolist() == ["digit", "angle"]
    assert drawn["names"].tolist() == ["digit 2, angle 30"] * 2 + ["digit 0, angle 30"] * 2
    again = run.sample({"digit": [2, 2, 0, 0], "angle": 30})
    assert torch.equal(torch.from_numpy(drawn["images"]), again)
    assert draw(run, "sample", "condition={angle: -5.5, digit: 1}", "num=1")["conditions"].tolist() == [[1, -5.5]]


def test_flags_are_listed_and_have_a_column_each(run_on: MakeRun, draw: Draw) -> None:
    drawn = draw(run_on("flags"), "sample", "condition={parts: [two, red]}", "num=1")
    assert drawn["conditions"].tolist() == [[1, 0, 1]]
    assert drawn["columns"].tolist() == ["parts: red", "parts: large", "parts: two"]
    assert drawn["names"].tolist() == ["red+two"]


REFUSED = {
    "birds sample labels=[cat]": r"Expected one of Long-tailed tit .* \(labels\), got 'cat'",
    "birds sample labels=[null]": r"Expected a class \(labels\), got 'none'\. .*model\.label_dropout=0\.1",
    "turned sample labels=2": r"Expected a value \(angle\), got 'none'\. .*'condition=\{digit: 0, angle: 0\}'",
    "turned sample condition={angle: steep, digit: 1}": r"a finite number \(angle\), got 'steep'\. .*-45 to 45",
    "turned sample condition={digit: [1, 2], angle: [1, 2, 3]}": r"Expected one value or 3 values \(digit\), got",
    "turned sample condition={hue: 1}": r"Expected the columns digit, angle \(condition\), got 'hue'",
    "turned traverse over=hue": r"Expected one of digit, angle \(over\), got 'hue'",
    "turned traverse over=[]": r"Expected one of digit, angle \(over\), got 'none'",
    "angle sample labels=30": r"a value for angle \(condition\), got \[30\]\. For example 'condition=\{angle: 0\}'",
    "angle reconstruct labels=30": r"Expected images with classes \(labels\), got \[30\]\. The data set has none",
    "turned reconstruct condition={angle: 45.5}": r"labels that occur in val \(condition\), got \{'angle': 45\.5\}",
    "flags sample condition={parts: [green]}": r"Expected a list of red, large, two \(parts\), got \['green'\]",
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_label_that_there_is_not_is_refused_by_its_column(
    run_on: MakeRun, draw: Draw, tmp_path: Path, words: str
) -> None:
    kind, command, override = words.split(" ", 2)
    with pytest.raises(UserError, match=REFUSED[words]):
        draw(run_on(kind), command, override)
    assert not (tmp_path / "drawn").exists()


def test_a_model_without_labels_ignores_a_condition_and_says_so(run_on: MakeRun, draw: Draw, caplog: Any) -> None:
    run = run_on("turned", "model=vae")
    assert "names" not in draw(run, "sample", "condition={angle: 3}", "num=2")
    assert "This model is not conditioned on the label: condition={'angle': 3} is ignored." in caplog.text
    with pytest.raises(UserError, match=r"Expected null \(over\), got 'angle'\. This model is not conditioned on any"):
        draw(run, "traverse", "over=angle")


def test_labels_choose_images_of_a_split_whatever_the_model_sees(run_on: MakeRun, draw: Draw) -> None:
    run = run_on("half")
    classes = draw(run, "reconstruct", "labels=[2]", "num=60")["conditions"]
    assert set(classes[:, 0].tolist()) == {2}
    assert np.isnan(classes[:, 1]).any()
    unknown = draw(run, "reconstruct", "labels=[null,1]", "num=60")["conditions"][:, 0]
    assert np.isnan(unknown).sum() > 10
    assert set(unknown[~np.isnan(unknown)].tolist()) == {1}
    chosen = draw(run, "reconstruct", "condition={digit: [0, 1]}", "num=60")["conditions"]
    assert set(chosen[:, 0].tolist()) == {0, 1}
    by_number = draw(run, "reconstruct", "index=[0,1,2]")
    found = Labelled("half").fit_splits()[1]
    np.testing.assert_array_equal(by_number["conditions"], found.labels[:3])


def test_a_vae_takes_the_images_of_a_class_too(run_on: MakeRun, draw: Draw) -> None:
    val = Labelled("birds").fit_splits()[1]
    drawn = draw(run_on("birds", "model=vae"), "reconstruct", "labels=[Great spotted woodpecker]", "num=60")
    assert len(drawn["images"]) == int((val.labels == 1).sum())
    assert "labels" not in drawn


def test_ones_own_images_need_labels_only_if_the_model_does(run_on: MakeRun, draw: Draw, tmp_path: Path) -> None:
    images = Labelled("some").fit_splits()[1].images[:2]
    np.save(tmp_path / "own.npy", images.numpy())
    run = run_on("some")
    given = [f"images={tmp_path}/own.npy"]
    assert draw(run, "reconstruct", *given, "labels=[cat,null]")["labels"].tolist() == [0, -1]
    drawn = draw(run, "reconstruct", *given)
    assert drawn["labels"].tolist() == [-1, -1]
    np.testing.assert_array_equal(drawn["images"], images.numpy() / np.float32(255))
    with pytest.raises(UserError, match=r"Expected one label or 2 labels \(labels\), got '3 labels'"):
        draw(run, "reconstruct", *given, "labels=[cat,dog,cat]")


def test_an_interpolation_names_both_ends_and_goes_through_the_numbers_between(run_on: MakeRun, draw: Draw) -> None:
    run = run_on("turned")
    given = ["between=samples", "num=1", "steps=3", "condition={digit: [1, 1], angle: [-40, 20]}"]
    drawn = draw(run, "interpolate", *given)
    assert drawn["conditions"].tolist() == [[[1, -40], [1, 20]]]
    assert drawn["names"].tolist() == [["digit 1, angle -40", "digit 1, angle 20"]]
    assert _ways(run.condition, *torch.from_numpy(drawn["conditions"]).unbind(1)) == ["digit 1, angle -40 to 20"]
    middle, model = torch.from_numpy(drawn["latents"][:, 1]), run.model()
    with torch.no_grad():
        expected = model.likelihood(middle, run.condition.parse({"digit": 1, "angle": -10})).mean
    torch.testing.assert_close(torch.from_numpy(drawn["images"][:, 1]), expected)


def test_a_traversal_over_a_column_moves_nothing_else(run_on: MakeRun, draw: Draw) -> None:
    run = run_on("turned")
    given = ["over=angle", "steps=4", "num=6", "condition={digit: [2, 0], angle: 7}"]
    drawn = draw(run, "traverse", *given)
    assert drawn["images"].shape == (6, 4, 1, 28, 28)
    np.testing.assert_allclose(drawn["values"][:, 0], [-45, -15, 15, 45])
    assert drawn["conditions"][:, :, 0].tolist() == [[2] * 4] * 3 + [[0] * 4] * 3
    np.testing.assert_allclose(drawn["conditions"][:, :, 1], np.tile([-45, -15, 15, 45], (6, 1)))
    assert len(np.unique(drawn["latents"], axis=0)) == 6, "each row has latents of its own"
    z, model = torch.from_numpy(drawn["latents"]), run.model()
    y = run.condition.parse({"digit": [2, 2, 2, 0, 0, 0], "angle": 15})
    torch.testing.assert_close(torch.from_numpy(drawn["images"][:, 2]), inference.decode(model, z, y))


def test_a_traversal_over_classes_shows_each_with_the_same_latents(run_on: MakeRun, draw: Draw) -> None:
    drawn = draw(run_on("birds"), "traverse", "over=species", "num=3")
    assert drawn["labels"].tolist() == [[0, 1]] * 3
    assert drawn["names"].tolist() == [[*BIRDS]] * 3


def test_a_column_of_numbers_has_a_traversal_without_being_asked_for(
    run_on: MakeRun, draw: Draw, tmp_path: Path
) -> None:
    drawn = draw(run_on("turned"), "traverse", "steps=2", "num=3", name="traversal_over_angle")
    assert drawn["conditions"][:, 0].tolist() == [[0, -45], [1, -45], [2, -45]]
    names = {path.stem for path in tmp_path.glob("drawn/*/*.png")}
    assert names == {"traversal_over_angle", *(f"traversal_digit-{digit}-angle-0" for digit in range(3))}


def test_many_classes_have_as_many_traversals_as_a_person_looks_at(
    run_on: MakeRun, draw: Draw, tmp_path: Path, caplog: Any
) -> None:
    run = run_on("many")
    draw(run, "traverse", "steps=2", "num=1", name="traversal_class-0")
    assert len(list(tmp_path.glob("drawn/0/*.png"))) == 20
    assert "The first 20 of 40 labels are drawn; labels=[...] draws others." in caplog.text
    draw(run, "traverse", "steps=2", "num=1", f"labels={list(range(22))}", name="traversal_class-21")
    assert len(list(tmp_path.glob("drawn/1/*.png"))) == 22


def test_a_label_is_part_of_a_file_name_in_any_system() -> None:
    names = [
        "T-shirt/top",
        "t-shirt top",
        "T-shirt.top",
        "../..",
        "か",
        "",
        "x" * 300,
        "x" * 299,
        "digit 3, angle -0.5",
    ]
    found = file_names(names)
    assert found[:6] == ["T-shirt-top", "t-shirt-top_2", "T-shirt.top", "label", "か", "label_2"]
    assert found[6:] == ["x" * 60, "x" * 60 + "_2", "digit-3-angle--0.5"]


@pytest.mark.parametrize(
    ("kind", "groups"), [("birds", 2), ("half", 4), ("flags", 8), ("angle", 1), ("nothing", 1), ("some", 3)]
)
def test_a_map_has_the_colours_of_what_there_is(
    run_on: MakeRun, draw: Draw, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, groups: int
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr("cvae_lightning.drawing.picture.write_png", lambda figure, path: figures.append(figure))
    model = ["model=vae"] if kind == "nothing" else []
    drawn = draw(run_on(kind, *model), "embed")
    assert drawn["means"].shape == (60, 3)
    parts = [part for part in figures[0].axes[0].collections if isinstance(part, PathCollection)]
    sizes = [size for part in parts if (size := len(np.asarray(part.get_offsets())))]
    assert (len(sizes), sum(sizes)) == (groups, 60)
    assert (len(figures[0].axes) == 2) is (kind == "angle"), "a colour bar"
    metadata = list(tmp_path.glob("drawn/0/projector/*/*/metadata.tsv"))
    assert bool(metadata) is (kind != "nothing")
    if kind == "half":
        lines = metadata[0].read_text().splitlines()
        assert lines[0] == "digit\tangle"
        assert len(lines) == 61
        assert {line.split("\t")[0] for line in lines[1:]} == {"0", "1", "2", "unknown"}
    elif kind == "birds":
        assert set(metadata[0].read_text().splitlines()) == {*BIRDS}


def test_rare_combinations_of_flags_share_a_colour() -> None:
    condition = Condition((Flags("tags", tuple("abcdef")),))
    y = condition.spread(64)
    rank, names = _combinations(condition, torch.cat([y, y[5:6]]))
    assert names[0] == "a+c"
    assert rank[5] == rank[64] == 0
    assert len(names) == MOST_COMBINATIONS + 1
    assert names[-1] == "others"
    assert int(rank.max()) == MOST_COMBINATIONS


COLOUR = torch.randint(0, 256, (2, 3, 4, 6), generator=torch.Generator().manual_seed(0)).byte().numpy()


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (COLOUR, COLOUR),
        (COLOUR.transpose(0, 2, 3, 1), COLOUR),
        (COLOUR[0], COLOUR[:1]),
        (COLOUR[0].transpose(1, 2, 0), COLOUR[:1]),
        (COLOUR[:, 0], COLOUR[:, [0, 0, 0]]),
        (COLOUR[0, 0], COLOUR[:1, [0, 0, 0]]),
    ],
    ids=["first", "last", "one, first", "one, last", "grey", "one, grey"],
)
def test_arrays_in_colour_are_read_as_what_they_hold(tmp_path: Path, array: Any, expected: Any) -> None:
    np.save(tmp_path / "own.npy", array)
    images = read_images([tmp_path / "own.npy"], (3, 4, 6))
    torch.testing.assert_close(images, torch.from_numpy(expected) / 255)


def test_pictures_in_colour_keep_their_colours(tmp_path: Path, caplog: Any) -> None:
    pixels = COLOUR[0].transpose(1, 2, 0)
    Image.fromarray(pixels).save(tmp_path / "colour.png")
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    Image.new("RGB", (6, 4), (255, 255, 255)).save(tmp_path / "white.png")
    ink = np.concatenate([pixels, np.zeros((4, 6, 1), "u1")], 2)
    Image.fromarray(ink).save(tmp_path / "transparent.png")
    files = [tmp_path / f"{name}.png" for name in ("colour", "grey", "white", "transparent")]
    images = read_images(files, (3, 4, 6))
    torch.testing.assert_close(images[0], torch.from_numpy(COLOUR[0]) / 255)
    torch.testing.assert_close(images[1], torch.from_numpy(COLOUR[0, [0, 0, 0]]) / 255)
    assert images[2].min() == 1
    assert images[3].max() == 0
    assert not caplog.text, "a photograph may be bright"


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((2, 5, 4, 6), r"write images as \(batch, channels, height, width\) or one as \(3, 4, 6\)"),
        ((2, 72), "it has the shape"),
    ],
)
def test_arrays_of_other_channels_are_refused(tmp_path: Path, shape: tuple[int, ...], reason: str) -> None:
    np.save(tmp_path / "own.npy", np.zeros(shape, "u1"))
    with pytest.raises(UserError, match=rf"own\.npy.*{reason}"):
        read_images([tmp_path / "own.npy"], (3, 4, 6))
