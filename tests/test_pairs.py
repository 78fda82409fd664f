"""Every two choices together: what trains in one epoch goes through every command, and what can't is refused before it.

Each pair of values of any two of the keys below is in at least one run. A pair that is refused by design is not in the
runs; a test of its own shows that it is refused before any data are read.
"""

import functools
import importlib.util
import itertools
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from allpairspy import AllPairs
from helpers import begun, choices_of, composed, untrained_model, write_code, write_idx_files
from omegaconf import DictConfig
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from cvae_lightning.core.errors import UserError
from cvae_lightning.data.idx_source import IdxSource
from cvae_lightning.drawing.commands import embed, inpaint, interpolate, reconstruct, sample, score, traverse
from cvae_lightning.evaluators import cas, sample_quality
from cvae_lightning.exporters.export import export
from cvae_lightning.exporters.onnx_models import largest_difference, onnx_graph
from cvae_lightning.exporters.parts import CLOSE, difference_from, parts_of
from cvae_lightning.exporters.standalone import FUNCTIONS
from cvae_lightning.judging import store as judge_files
from cvae_lightning.judging.classifier import fit
from cvae_lightning.models.protocols import Classifying
from cvae_lightning.models.vae import VAE
from cvae_lightning.reports.content import compose_report
from cvae_lightning.reports.markdown import markdown
from cvae_lightning.reports.sweep_frame import sweep_frame
from cvae_lightning.runs.run import Run
from cvae_lightning.runs.sweep import Sweep
from cvae_lightning.training.evaluate import evaluate
from cvae_lightning.training.train import train

NUM_FAST = 12  # runs in make test
TRAIN, OTHERS = 240, 48  # images of train, and of val and test each

STORES = [name for name in ("mlflow", "wandb") if importlib.util.find_spec(name)]  # both in CI
FEW_IMAGES = "evaluators.bayes.num_samples=2 evaluators.bayes.num_images=30 evaluators.cas.num_samples=30"
KEYS: dict[str, list[str]] = {
    "model": [
        "model=cvae",
        "model=vae",
        "model=m2 model.classifier_shift=1 data.labelled=30",
        "model=m1m2 model.first_epochs=0 model.network.first_latent_dim=3 model.network.hidden=[8]",
    ],
    "network": [
        "network=mlp network.hidden=[16]",
        "network=conv network.channels=2 network.hidden=8",
        "network=residual network.channels=2",
    ],
    "likelihood": choices_of(["likelihood"]),
    "prior": ["prior=normal", "prior=learned", "prior=learned prior.num_components=1", "prior=flow prior.hidden=[8]"],
    "bound": ["bound=elbo", "bound.warmup_epochs=3", "bound.free_bits=0.1", "bound=iwae"],
    "sampler": ["sampler=prior", "sampler=gaussian", "sampler=mixture"],
    "schedule": ["schedule=constant", "schedule=cosine", "schedule=one_cycle"],
    "optimizer": ["optimizer=adam", "optimizer=adamw"],
    "averaging": ["averaging=none", "averaging=ema"],
    "logger": ["logger=tensorboard", "logger=csv", "logger=[tensorboard,csv]", *(f"logger={name}" for name in STORES)],
    "figures": ["figures=default", "figures=none"],
    "binarize": ["data.binarize=null", "data.binarize=dynamic", "data.binarize=static-threshold"],
    "max_shift": ["data.max_shift=0", "data.max_shift=2"],
    "injection": [f"network.injection={name}" for name in ("concatenate", "add", "modulate")],
    "inject_into": [
        f"network.inject_into={places}" for places in ("[encoder,decoder]", "[encoder]", "[decoder]", "[]")
    ],
    "precision": ["trainer.precision=32-true", "trainer.precision=bf16-mixed", "trainer.precision=auto"],
    "evaluators": [
        "evaluators=default",
        "evaluators=judged",
        "evaluators=likelihood evaluators.nll.num_samples=5",
        "evaluators=full evaluators.nll.num_samples=5",
        "evaluators=claims evaluators.gradients.num_draws=2",
        f"evaluators=conditional {FEW_IMAGES}",
    ],
    "latent_dim": ["latent_dim=1", "latent_dim=2", "latent_dim=7"],
    "batch_size": [f"batch_size={size}" for size in (TRAIN + 60, TRAIN, TRAIN - 1)],
}
FEW_SAMPLES = "evaluators.grader.samples_per_class=10"
OF_A_GRAPH = {
    "encoder": ("model", "network", "injection", "inject_into", "latent_dim"),
    "decoder": ("model", "network", "likelihood", "injection", "inject_into", "latent_dim"),
    "sampler": ("model", "prior", "sampler", "latent_dim"),
    "classifier": ("model", "network", "injection", "inject_into"),
}
REFUSED = {
    ("bound.free_bits=0.1", "prior=learned"): r"a mixture or a flow \(bound\.free_bits\), got 0\.1\.",
    ("bound.free_bits=0.1", "prior=flow prior.hidden=[8]"): r"a mixture or a flow \(bound\.free_bits\), got 0\.1\.",
    ("latent_dim=1", "prior=flow prior.hidden=[8]"): r"at least 2 \(latent_dim\), got 1\.",
    **{
        (model, bound): r"an ELBO without free bits \(bound\), got"
        for model in KEYS["model"][2:]
        for bound in ("bound.free_bits=0.1", "bound=iwae")
    },
}


def allowed(values: list[str]) -> bool:
    return not any(set(pair) <= set(values) for pair in REFUSED)


def rows(names: Iterable[str]) -> list[list[str]]:
    """Values of these keys, such that each pair of two keys' values is in one of the rows, unless it is refused."""
    values = [KEYS[name] for name in names]
    found = [list(row) for row in AllPairs(values, filter_func=allowed)]
    for (i, first), (j, second) in itertools.combinations(enumerate(values), 2):  # what the filter made it leave out
        for pair in itertools.product(first, second):
            if not any((row[i], row[j]) == pair for row in found):
                others = ([*row[:i], pair[0], *row[i + 1 : j], pair[1], *row[j + 1 :]] for row in found)
                found += list(filter(allowed, others))[:1]
    return found


ONE_EPOCH = ("epochs=1", "accelerator=cpu")
VALUES = rows(KEYS)
RUNS = [
    pytest.param(" ".join(row), marks=pytest.mark.slow if place >= NUM_FAST else ()) for place, row in enumerate(VALUES)
]  # the first rows cover the most pairs


def test_every_pair_that_is_not_refused_is_in_a_run() -> None:
    together = {pair for row in VALUES for pair in itertools.combinations(row, 2)}
    for first, second in itertools.combinations(KEYS.values(), 2):
        for pair in itertools.product(first, second):
            assert (pair in together) != (pair in REFUSED or pair[::-1] in REFUSED), pair


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, and the judges that are fitted to them once."""
    folder = tmp_path_factory.mktemp("data")
    write_idx_files(folder, TRAIN + OTHERS, OTHERS)
    return folder


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are made but not rendered; the judge is fitted in one epoch and reads few samples."""
    for module in (judge_files, cas):
        monkeypatch.setattr(module, "fit", functools.partial(fit, epochs=1))
    monkeypatch.setattr(sample_quality, "SAMPLES_PER_CLASS", 10)


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("overrides", RUNS)
def test_a_run_goes_through_every_command(
    tmp_path: Path, data_dir: Path, overrides: str, caplog: pytest.LogCaptureFixture
) -> None:
    given = [*overrides.split(), *FEW_SAMPLES.split(), f"data_dir={data_dir}", *ONE_EPOCH]
    run = begun(tmp_path / "sweep", given)
    train(run)
    check_record(run, overrides)
    check_arrays(run, tmp_path / "drawn")
    with caplog.at_level("INFO"):
        check_explorer(run, tmp_path / "export")
        evaluators = [override for override in overrides.split() if override.startswith("evaluators")]
        evaluate(command_config(evaluate, run, *evaluators, FEW_SAMPLES))
    assert "All numbers that metrics.json has are the same, to the last digit." in caplog.text


def as_code(model: VAE, part: str, folder: Path) -> Callable[..., Any]:
    """The function of a part of the model, of code that is written into `folder` and read from there."""
    function, _ = FUNCTIONS[part]
    return write_code(model, folder)[function]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "overrides"), [(part, row) for part, names in OF_A_GRAPH.items() for row in map(" ".join, rows(names))]
)
def test_a_part_of_a_model_leaves_as_onnx_and_as_code(tmp_path: Path, part: str, overrides: str) -> None:
    model = untrained_model(*overrides.split(), "data=digits")
    if part == "classifier" and not isinstance(model, Classifying):
        assert part not in parts_of(model)
        return
    function, inputs, outputs = parts_of(model)[part]
    graph = onnx_graph(function, inputs, outputs, {})
    assert largest_difference(graph, function, inputs) <= CLOSE
    assert difference_from(function, inputs, as_code(model, part, tmp_path)) <= CLOSE
    if part == "sampler" and model.num_classes:
        with pytest.raises(InvalidArgument):
            onnxruntime.InferenceSession(graph).run(None, {key: (t - 1).numpy() for key, t in inputs.items()})


@pytest.mark.parametrize("pair", REFUSED, ids=" ".join)
def test_a_pair_that_means_nothing_is_refused_before_data_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pair: tuple[str, str]
) -> None:
    def read(*_: Any) -> None:
        raise AssertionError("data were read")

    monkeypatch.setattr(IdxSource, "prepare", read)
    with pytest.raises(UserError, match=REFUSED[pair]):
        train(
            begun(
                tmp_path / "sweep",
                [*(word for part in pair for word in part.split()), f"data_dir={tmp_path}", *ONE_EPOCH],
            )
        )


def check_record(run: Run, overrides: str) -> None:
    """metrics.json names what was chosen, and the report of the sweep has its numbers."""
    chosen = dict(override.split("=", 1) for override in overrides.split())
    recorded = {key: value for key, value in chosen.items() if key in run.metrics}
    assert recorded.keys() >= {"model", "network", "likelihood", "prior", "optimizer", "schedule", "sampler"}
    assert {key: str(run.metrics.get(key)) for key in recorded} == recorded
    sweep = Sweep(run.path.parent)
    frame = sweep_frame(sweep)
    page = markdown(compose_report(sweep, frame))
    assert "1 complete" in page
    assert not re.search(r"\b(nan|None)\b", page.partition("## All complete runs")[2])
    (row,) = frame.to_dict("records")
    assert (row["status"], row["model"]) == ("complete", chosen["model"])
    for split in ("val", "test"):
        numbers = {name: math.nan if value is None else value for name, value in run.metrics[split].items()}
        assert {name: row[f"{split}/{name}"] for name in numbers} == pytest.approx(numbers, rel=0, nan_ok=True)


def check_arrays(run: Run, out: Path) -> None:
    """What the commands that draw write: finite, images in [0, 1], and of the right shapes."""
    latents, conditional = run.config["latent_dim"], run.metrics["model"] != "vae"
    num = 20 if conditional else 2
    asked = {
        "sample": (num,),
        "reconstruct": (3,),
        "interpolate": (2, 2),
        "traverse": (1,),
        "score": (3,),
        "inpaint": (3,),
    }
    labels: dict[str, tuple[int, ...]] = asked if conditional else {}
    drawn = {
        sample: (["num=2"], {"images": (num, 1, 28, 28), "latents": (num, latents)}),
        reconstruct: (
            ["num=3"],
            {"images": (3, 1, 28, 28), "reconstructions": (3, 1, 28, 28), "mse": (3,), "latents": (3, latents)},
        ),
        interpolate: (["num=2", "steps=3"], {"images": (2, 3, 1, 28, 28), "latents": (2, 3, latents)}),
        traverse: (
            ["labels=3", "steps=3"],
            {
                "images": (latents, 3, 1, 28, 28),
                "latents": (latents, 3, latents),
                "order": (latents,),
                "kl": (latents,),
                "values": (3,),
            },
        ),
        embed: (
            ["projector=false"],
            {
                "means": (OTHERS, latents),
                "log_vars": (OTHERS, latents),
                "labels": (OTHERS,),
                "names": (OTHERS,),
                "map": (OTHERS, 2),
            },
        ),
    }
    classes = 10 if conditional else 0
    scores = dict.fromkeys(("elbo", "nll", "nll_given_label", "mse", "distance", "excess"), (3,))
    drawn[inpaint] = (
        ["num=3", "draws=2", "proposals=20"],
        {"images": (3, 1, 28, 28), "seen": (28, 28), "draws": (3, 2, 1, 28, 28), "effective": (3,)},
    )
    drawn[score] = (
        ["num=3", "num_samples=2"],
        {"images": (3, 1, 28, 28), **scores, "log_posterior": (3, classes)},
    )
    for command, (overrides, shapes) in drawn.items():
        if command.__name__ in labels:
            shapes["labels"] = shapes["names"] = labels[command.__name__]
        config = command_config(command, run, *overrides)
        config.out = str(out / command.__name__)
        command(config)
        (file,) = set((out / command.__name__).glob("*.npz")) - {out / "score" / "reliability.npz"}
        with np.load(file, allow_pickle=False) as arrays:
            assert {name: arrays[name].shape for name in arrays.files} == shapes
            assert all(np.isfinite(arrays[name]).all() for name in arrays.files if name != "names")
            for name in {"images", "reconstructions"} & set(arrays.files):
                assert 0 <= arrays[name].min() <= arrays[name].max() <= 1


def check_explorer(run: Run, out: Path) -> None:
    """The page computes decoders of linear layers; for others, the command refuses and writes nothing."""
    config = command_config(export, run, "format=html")
    config.out = str(out)
    if run.metrics["network"] == "mlp":
        export(config)
        assert (out / "explorer.html").read_text().rstrip().endswith("</html>")
    else:
        with pytest.raises(UserError, match=r"Expected a decoder of linear layers .* use format=onnx\."):
            export(config)
        assert not out.exists()


def command_config(command: Callable[[DictConfig], None], run: Run, *overrides: str) -> DictConfig:
    config = _composed_once(command.__name__, *overrides).copy()
    config.run = str(run.path)
    return config


@functools.cache
def _composed_once(name: str, *overrides: str) -> DictConfig:
    return composed("run=later", *overrides, config_name=name)
