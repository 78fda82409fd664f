"""What comes from outside into a Run: right, or refused in one sentence that names the argument."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import untrained_run
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.torch import load_file, save_file
from torch import Tensor

from cvae_lightning.core.errors import UserError
from cvae_lightning.core.files import sha256_of
from cvae_lightning.core.shapes import as_images, as_labels
from cvae_lightning.runs.run import Run

LEVELS = np.arange(2 * 28 * 28, dtype="u1").reshape(2, 1, 28, 28)
X = torch.from_numpy(LEVELS) / 255


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return untrained_run(tmp_path_factory.mktemp("runs") / "cvae")


ACCEPTED: dict[str, tuple[Any, Tensor]] = {
    "float32": (X, X),
    "float64": (X.double(), X),
    "float16": (X.half(), X.half().float()),
    "bfloat16": (X.bfloat16(), X.bfloat16().float()),
    "bytes": (torch.from_numpy(LEVELS), X),
    "booleans": (X > 0.5, (X > 0.5).float()),
    "with a gradient": (X.clone().requires_grad_(), X),
    "transposed": (X.transpose(2, 3).contiguous().transpose(2, 3), X),
    "an array": (X.numpy(), X),
    "an array of float64": (X.double().numpy(), X),
    "an array of bytes": (LEVELS, X),
    "an array of booleans": (LEVELS > 127, (X > 0.5).float()),
    "a reversed array": (LEVELS[::-1], X.flip(0)),
    "another byte order": (X.numpy().astype(">f4"), X),
    "one image": (X[0], X[:1]),
    "one array": (LEVELS[1], X[1:]),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_images_are_float32_in_0_to_1_whatever_holds_them(run: Run, name: str) -> None:
    given_images, expected = ACCEPTED[name]
    assert torch.equal(run.encode(given_images, 7), run.encode(expected, 7))
    images = run.reconstruct(given_images, 7)
    assert torch.equal(images, run.reconstruct(expected, 7))
    assert torch.equal(images, run.reconstruct(expected, [7] * len(expected)))
    assert (images.dtype, images.shape, images.device.type) == (torch.float32, expected.shape, "cpu")
    assert not images.requires_grad
    assert run.encode(given_images, 7).shape == (len(expected), 3)


def test_a_read_only_array_is_not_written_to(run: Run) -> None:
    images = X.numpy().copy()
    images.flags.writeable = False
    assert torch.equal(run.encode(images, 7), run.encode(X, 7))


REFUSED_IMAGES: dict[str, tuple[Any, str]] = {
    "0 to 255 as floats": (255 * X, r"Expected values in \[0, 1\] \(images\), got 'values from 0 to 255'\. Divide"),
    "negative": (X - 0.5, r"Expected values in \[0, 1\]"),
    "nan": (torch.where(X == 0, float("nan"), X), r"Expected values in \[0, 1\]"),
    "infinite": (X.numpy() / 0.5 + np.inf, r"Expected values in \[0, 1\]"),
    "int64": (LEVELS.astype("i8"), r"Expected floats in \[0, 1\], uint8 or booleans \(images\), got 'int64'"),
    "int64 tensor": (torch.zeros(1, 1, 28, 28).long(), "got 'torch.int64'"),
    "uint16": (LEVELS.astype("u2"), "got 'uint16'"),
    "complex": (X + 0j, "got 'torch.complex64'"),
    "text": (np.full((1, 1, 28, 28), "0"), "got '<U1'"),
    "objects": (np.full((1, 1, 28, 28), None), "got 'object'"),
    "three channels": (X.expand(2, 3, 28, 28), r"Expected the shape \(batch, 1, 28, 28\) or \(1, 28, 28\) \(images\)"),
    "channels last": (LEVELS.reshape(2, 28, 28, 1), r"got \(2, 28, 28, 1\)"),
    "another size": (torch.zeros(2, 1, 32, 32), r"got \(2, 1, 32, 32\)"),
    "no channel": (X[:, 0], r"got \(2, 28, 28\)"),
    "height and width": (X[0, 0], r"got \(28, 28\)"),
    "flattened": (X.flatten(1), r"got \(2, 784\)"),
    "five dimensions": (X[None], r"got \(1, 2, 1, 28, 28\)"),
    "one number": (torch.tensor(0.5), r"got \(\)"),
    "no image": (X[:0], r"got \(0, 1, 28, 28\)"),
    "a list": (X.tolist(), r"Expected a tensor or a numpy array \(images\), got 'list'"),
    "nothing": (None, "got 'NoneType'"),
    "a path": ("seven.png", "got 'str'"),
}


@pytest.mark.parametrize("name", REFUSED_IMAGES)
def test_what_is_no_image_of_the_model_is_refused(run: Run, name: str) -> None:
    images, sentence = REFUSED_IMAGES[name]
    for function in (run.reconstruct, run.encode):
        with pytest.raises(UserError, match=sentence):
            function(images, 7)


@settings(deadline=None)
@given(
    arrays(st.sampled_from(["f2", ">f4", "f8", "u1", "?", "i4", "c8", "M8[s]"]), array_shapes(max_dims=5, max_side=2))
)
def test_an_array_becomes_images_or_is_refused(array: Any) -> None:
    """Whatever the values, the dtype and the shape, for a model of images of one pixel."""
    try:
        images = as_images(array, (1, 1, 1), torch.device("cpu"))
    except UserError:
        return
    assert images.shape[1:] == (1, 1, 1)
    assert len(images) >= 1
    assert images.dtype == torch.float32
    assert 0 <= images.min() <= images.max() <= 1


LABELS: dict[str, Any] = {
    "int": 7,
    "list": [7],
    "range": range(7, 8),
    "numpy integer": np.uint8(7),
    "0-d array": np.array(7),
    "1-d array": np.array([7], ">i2"),
    "uint64": np.array([7], "u8"),
    "list of numpy integers": [np.int32(7)],
    "0-d tensor": torch.tensor(7, dtype=torch.int16),
    "1-d tensor": torch.tensor([7], dtype=torch.uint8),
    "list of tensors": [torch.tensor(7)],
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_are_integers_whatever_holds_them(run: Run, name: str) -> None:
    assert torch.equal(run.sample(LABELS[name]), run.sample([7]))
    assert torch.equal(run.encode(X, LABELS[name]), run.encode(X, [7, 7]))


NO_LABELS: dict[str, Any] = {
    "bool": True,
    "bools": [True, False],
    "array of bools": np.array([True]),
    "tensor of bools": torch.tensor([True]),
    "float": 7.0,
    "numpy float": np.float32(7),
    "floats": [7.0, 2.0],
    "tensor of floats": torch.tensor([7.0]),
    "complex": 7j,
    "text": "seven",
    "texts": ["7", "two"],
    "none": None,
    "a list that is empty": [],
    "an array that is empty": np.array([], int),
    "a tensor that is empty": torch.tensor([], dtype=torch.long),
    "two dimensions": [[7, 2]],
    "different lengths": [[7], [7, 2]],
    "a set": {7},
    "too large for 64 bits": 2**70,
    "too large": [7, 10],
    "negative": np.array([-1]),
}


@pytest.mark.parametrize("name", NO_LABELS)
def test_what_is_no_label_of_the_model_is_refused(run: Run, name: str) -> None:
    calls: list[Callable[[Any], Tensor]] = [run.sample, lambda y: run.reconstruct(X, y), lambda y: run.encode(X, y)]
    for call in calls:
        with pytest.raises(UserError, match=r"^Expected .*label.*\. \w+") as caught:
            call(NO_LABELS[name])
        assert "\n" not in str(caught.value)


def test_a_wrong_number_of_labels_is_refused(run: Run) -> None:
    with pytest.raises(UserError, match=r"Expected one label or 2 labels \(labels\), got '3 labels'"):
        run.encode(X, [1, 2, 3])


def test_one_label_stands_for_as_many_images_as_are_asked_for(run: Run) -> None:
    assert torch.equal(run.sample(7, num=3), run.sample([7, 7, 7]))
    with pytest.raises(UserError, match=r"Expected one label or 3 labels \(labels\), got '2 labels'"):
        run.sample([2, 7], num=3)
    with pytest.raises(UserError, match=r"Expected labels, as this model is conditional \(labels\), got None"):
        run.sample(num=3)


def test_an_unconditional_model_draws_a_number_of_images_and_ignores_the_labels_of_others(tmp_path: Path) -> None:
    vae = untrained_run(tmp_path / "vae", "model=vae")
    assert vae.sample(num=2).shape == (2, 1, 28, 28)
    assert torch.equal(vae.encode(X), vae.encode(X, 7))
    assert torch.equal(vae.reconstruct(X), vae.reconstruct(X, [1, 2]))
    with pytest.raises(UserError, match=r"Expected no labels, .* \(labels\), got \[2, 7\]\. Pass num"):
        vae.sample([2, 7])
    with pytest.raises(UserError, match=r"Expected the number of images \(num\), got None"):
        vae.sample()


@pytest.mark.parametrize("num", [0, -1, 2.0, True, "3"])
def test_a_number_of_images_that_is_none_is_refused(run: Run, num: Any) -> None:
    with pytest.raises(UserError, match=r"Expected an integer of at least 1 \(num\)"):
        run.sample(7, num=num)


@pytest.mark.parametrize("temperature", [-1, float("nan"), float("inf"), "hot", True, np.float32("nan")])
def test_a_temperature_that_is_none_is_refused(run: Run, temperature: Any) -> None:
    with pytest.raises(UserError, match=r"Expected a finite number of at least 0 \(temperature\)"):
        run.sample(7, temperature=temperature)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, "0", None, True])
def test_a_seed_that_is_none_is_refused(run: Run, seed: Any) -> None:
    calls: list[Callable[[], Tensor]] = [lambda: run.sample(7, seed=seed), lambda: run.reconstruct(X, 7, seed)]
    for call in calls:
        with pytest.raises(UserError, match=r"Expected an integer .*\(seed\)"):
            call()


def test_numbers_of_numpy_are_numbers(run: Run) -> None:
    temperature, seed, num = np.float32(0.5), np.int64(3), np.int32(2)
    given = run.sample(7, num=num, temperature=temperature, seed=seed)  # type: ignore[arg-type]
    assert torch.equal(given, run.sample(7, num=2, temperature=0.5, seed=3))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_values_on_an_accelerator_are_not_looked_at(device: str) -> None:
    """The meta device stands for a GPU: a look at its values is an error."""
    labels = as_labels(torch.tensor([1, 2], device=device), 2, 10, torch.device("meta"))
    images = as_images(X.to(device), (1, 28, 28), torch.device("meta"))
    assert labels.device.type == images.device.type == "meta"


@pytest.mark.parametrize("change", ["a missing weight", "another shape", "one more"])
def test_weights_of_another_layout_name_the_version_that_wrote_them(tmp_path: Path, change: str) -> None:
    run = untrained_run(tmp_path / "run")
    file = run.path / "model.safetensors"
    state = load_file(file)
    name = next(iter(state))
    if change == "one more":
        name = "aaa"
        state[name] = torch.zeros(1)
    else:
        shape = state.pop(name).shape
        if change == "another shape":
            state[name] = torch.zeros(1, *shape)
    save_file(state, file)
    run.metrics["weights_sha256"] = sha256_of(file)
    with pytest.raises(
        UserError, match=rf"Expected {name} of shape .* written by cvae_lightning 0\.0\.9, commit unknown"
    ):
        run.model()
