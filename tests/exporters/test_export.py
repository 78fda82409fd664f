"""What leaves the project: ONNX files and the explorer compute what PyTorch does."""

import functools
import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from helpers import composed, metrics_of_a_run, randomised, untrained_model
from omegaconf import OmegaConf
from torch import Tensor, nn

from cvae_lightning.core.build import PACKAGE
from cvae_lightning.core.conditions import Condition
from cvae_lightning.core.errors import UserError
from cvae_lightning.core.plugins import PLUGINS
from cvae_lightning.exporters import onnx_models
from cvae_lightning.exporters.explorer import column_content, data_title, explorer_page
from cvae_lightning.exporters.export import export
from cvae_lightning.exporters.javascript import (
    check_the_page_can_compute,
    decoder_content,
    flow_content,
    mixtures_content,
)
from cvae_lightning.exporters.onnx_models import onnx_graph
from cvae_lightning.exporters.parts import Decoder, Encoder, Sampler, tried, value_names
from cvae_lightning.models.cvae import CVAE
from cvae_lightning.models.inference import kl_by_latent
from cvae_lightning.models.latents import GaussianMixtures
from cvae_lightning.models.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian, GaussianLearned, GaussianOptimal
from cvae_lightning.models.optimizers import adam
from cvae_lightning.models.priors import FlowPrior
from cvae_lightning.models.samplers import MixtureSampler, PriorSampler
from cvae_lightning.models.vae import VAE
from cvae_lightning.networks.conv import Conv
from cvae_lightning.networks.mlp import MLP
from cvae_lightning.networks.residual import Residual
from cvae_lightning.runs.run import Run

SMALL = ["latent_dim=3", "data=digits", "network.hidden=[16,12]"]
three_gaussians = functools.partial(MixtureSampler, num_components=3)
KEPT = Path(__file__).parent.parent / "kept_run"
ANGLE = {"mean": 3.0, "std": 26.0, "low": -45.0, "high": 45.0}
MIXED = Condition.from_config(
    {"angle": ANGLE, "species": ["wren", "robin", "owl"], "tags": {"flags": ["day", "wet"]}, "ring": ["no", "yes"]}
)
"""A column of each kind, and a second one of classes; the main column is not the first one."""
CONDITIONS = {
    "a class or none": Condition.of_classes(10).with_unknown(),
    "all kinds": MIXED,
    "all kinds or none": MIXED.with_unknown(),
    "some may be unknown": Condition((MIXED.columns[0], *MIXED.with_unknown().columns[1:3], MIXED.columns[3])),
    "a number": Condition(MIXED.columns[:1]),
    "flags or none": Condition(MIXED.with_unknown().columns[2:3]),
}
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


def small(
    network: Any = None,
    likelihood: nn.Module | None = None,
    classes: int = 10,
    sampler: Any = PriorSampler,
    condition: Condition | None = None,
    image_shape: tuple[int, int, int] = (1, 28, 28),
    **arguments: Any,
) -> VAE:
    parts = network or MLP([16, 12], **arguments), likelihood or Gaussian(), adam(0.001)
    model = CVAE if classes else VAE
    named = {"num_classes": classes} if condition is None else {"condition": condition}
    return randomised(model(*parts, image_shape=image_shape, latent_dim=3, sampler=sampler, **named))


def mixtures_of(model: VAE) -> GaussianMixtures:
    return model.sampler.mixtures(model.prior_net)


def metrics_of(model: VAE, network: str = "mlp") -> Any:
    return metrics_of_a_run(
        model=type(model).__name__.lower(),
        network=network,
        latent_dim=model.latent_dim,
        dataset={"name": "digits"},
        test={"ssim": 0.5, "mse": 0.0312345, "elbo": -12.5, "fid_judge": None},
        weights_sha256="",
    )


def finished_run(folder: Path, *overrides: str, spread: float = 0.25) -> Run:
    (folder / ".hydra").mkdir(parents=True)
    OmegaConf.save(composed(*overrides), folder / ".hydra" / "config.yaml")
    model = untrained_model(*overrides, spread=spread)
    Run(folder).write_result(model.state_dict(), metrics_of(model))
    return Run(folder)


def command(run: Run, *overrides: str) -> None:
    export(composed(f"run={run.path}", *overrides, config_name="export"))


def of_onnx(file: Path, **inputs: Tensor) -> list[Tensor]:
    session = onnxruntime.InferenceSession(file)
    return [torch.from_numpy(output) for output in session.run(None, {k: v.numpy() for k, v in inputs.items()})]


def check_onnx(folder: Path, model: VAE) -> None:
    """Against the model itself, in batches of sizes that it was not exported with."""
    for size in (1, 7):
        x, z, y = torch.rand(size, *model.image_shape), torch.randn(size, 3), torch.arange(size) % 10
        label = {"label": y} if model.num_classes else {}
        with torch.no_grad():
            q, image = model.posterior(x, y), model.likelihood(z, y).mean
        got = [
            *of_onnx(folder / "encoder.onnx", image=x, **label),
            *of_onnx(folder / "decoder.onnx", latent=z, **label),
        ]
        torch.testing.assert_close(got, [q.mean, q.log_var, image], atol=1e-5, rtol=1e-5)
        assert image.std() > 0.05


@pytest.mark.parametrize(
    "overrides", [("model=cvae",), ("model=cvae", "sampler=mixture", "sampler.num_components=3"), ("model=vae",)]
)
def test_a_run_leaves_as_onnx_files_that_compute_what_it_does(tmp_path: Path, overrides: Sequence[str]) -> None:
    run = finished_run(tmp_path / "run", *SMALL, *overrides)
    command(run, "format=onnx")
    folder, model = run.path / "export", run.model()
    assert sorted(path.name for path in folder.iterdir()) == ["decoder.onnx", "encoder.onnx", "sampler.onnx"]
    check_onnx(folder, model)

    classes = max(model.num_classes, 1)
    y = torch.arange(60_000) % classes
    label = {"label": y} if model.num_classes else {}
    (z,) = of_onnx(folder / "sampler.onnx", noise=torch.randn(len(y), 3), uniform=torch.rand(len(y)), **label)
    wanted = model.sampler(y, model.prior(y))
    for one in range(classes):
        torch.testing.assert_close(z[y == one].mean(0), wanted[y == one].mean(0), atol=0.15, rtol=0)
        torch.testing.assert_close(z[y == one].T.cov(), wanted[y == one].T.cov(), atol=0.25, rtol=0.1)

    props = {entry.key: entry.value for entry in onnx.load(folder / "decoder.onnx").metadata_props}
    names = [str(digit) for digit in range(model.num_classes)]
    assert json.loads(props["label_names"]) == names
    assert json.loads(props["condition"]) == ({"label": {"classes": names, "optional": False}} if names else {})
    assert json.loads(props["image_shape"]) == [1, 28, 28]
    assert json.loads(props["value_range"]) == [0, 1]
    assert json.loads(props["metrics"]) == run.metrics
    assert props["weights_sha256"] == run.metrics["weights_sha256"]
    for unknown in (-10, -1, 10) if model.num_classes else ():
        for file, inputs in {
            "encoder": {"image": torch.zeros(1, 1, 28, 28)},
            "decoder": {"latent": torch.zeros(1, 3)},
            "sampler": {"noise": torch.zeros(1, 3), "uniform": torch.zeros(1)},
        }.items():
            with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match="index = 10"):
                of_onnx(folder / f"{file}.onnx", **inputs, label=torch.tensor([unknown]))


@pytest.mark.parametrize("name", CONDITIONS)
def test_any_condition_leaves_as_onnx(tmp_path: Path, name: str) -> None:
    """Of colour images that are not square, with unknown values: the encoder, the decoder, and the sampler's group."""
    condition = CONDITIONS[name]
    model = small(condition=condition, image_shape=(3, 5, 8), sampler=three_gaussians)
    assert len(list(onnx_models.write_onnx_models(model, metrics_of(model), tmp_path))) == 3
    y = tried(condition)
    x, z, key = torch.rand(len(y), 3, 5, 8), torch.randn(len(y), 3), "label" if condition.is_one_class else "condition"
    with torch.no_grad():
        q, image = model.posterior(x, y), model.likelihood(z, y).mean
    encoded = of_onnx(tmp_path / "encoder.onnx", image=x, **{key: y})
    decoded = of_onnx(tmp_path / "decoder.onnx", latent=z, **{key: y})
    torch.testing.assert_close([*encoded, *decoded], [q.mean, q.log_var, image], atol=1e-5, rtol=1e-5)
    assert image.std() > 0.05
    (drawn,) = of_onnx(tmp_path / "sampler.onnx", noise=0 * z, uniform=torch.zeros(len(y)), **{key: y})
    torch.testing.assert_close(drawn, mixtures_of(model).means[condition.groups(y), 0])

    props = {entry.key: entry.value for entry in onnx.load(tmp_path / "sampler.onnx").metadata_props}
    assert Condition.from_config(json.loads(props["condition"])) == condition
    assert tuple(json.loads(props["label_names"])) == condition.class_names
    assert len(json.loads(props["condition_values"])) == condition.num_values


@pytest.mark.parametrize("name", CONDITIONS)
def test_all_classes_and_unknown_values_are_tried(name: str) -> None:
    """No value is unknown that may not be."""
    condition = CONDITIONS[name]
    y = tried(condition)
    columns = [column for column in condition.columns for _ in range(column.num_values)]
    unknown = y[:, None] < 0 if condition.is_one_class else y.isnan()
    assert unknown.any(0).tolist() == [column.optional for column in columns]
    assert set(condition.classes(y).tolist()) >= set(range(condition.num_classes))


def test_the_values_of_a_condition_are_named_in_their_order() -> None:
    assert value_names(MIXED) == ["angle", "species", "tags: day", "tags: wet", "ring"]


def test_what_a_model_has_not_learned_is_refused_by_the_graphs(tmp_path: Path) -> None:
    """A class that there is not, an unknown class of a model that knows none, and an unknown number."""
    out_of_bounds = onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument
    for name, bad in {
        "a class or none": [torch.tensor([-2]), torch.tensor([10])],
        "all kinds": [torch.tensor([[0, value, 0, 0, 0]]) for value in (torch.nan, -1.0, 3.0)],
        "all kinds or none": [torch.tensor([[0, value, 0, 0, 0]]) for value in (-1.0, 3.0)],
    }.items():
        model = small(condition=CONDITIONS[name], sampler=three_gaussians)
        folder = tmp_path / name
        list(onnx_models.write_onnx_models(model, metrics_of(model), folder))
        key = "label" if model.condition.is_one_class else "condition"
        for y in bad:
            for file, inputs in {
                "encoder": {"image": torch.zeros(1, 1, 28, 28)},
                "decoder": {"latent": torch.zeros(1, 3)},
                "sampler": {"noise": torch.zeros(1, 3), "uniform": torch.zeros(1)},
            }.items():
                with pytest.raises(out_of_bounds, match="index = "):
                    of_onnx(folder / f"{file}.onnx", **inputs, **{key: y})
    y = torch.tensor([[torch.nan, 0, 0, 0, 0], [0.0, 0, 0, 0, 0]])
    (image,) = of_onnx(tmp_path / "all kinds" / "decoder.onnx", latent=torch.zeros(2, 3), condition=y)
    assert image[0].isnan().all()
    assert image[1].isfinite().all()


class OwnContext(CVAE):
    def context(self, y: Tensor) -> Tensor:
        return 2 * super().context(y)


def test_a_context_of_ones_own_is_refused(tmp_path: Path) -> None:
    model = OwnContext(MLP([4]), Gaussian(), adam(0.001), latent_dim=3, num_classes=10)
    message = r"Expected a model whose context is that of its condition \(model\), got 'OwnContext'"
    with pytest.raises(UserError, match=message):
        list(onnx_models.write_onnx_models(model, metrics_of(model), tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_run_of_an_earlier_version_is_exported(tmp_path: Path) -> None:
    """Whose labels have no names."""
    shutil.copytree(KEPT, tmp_path / "run")
    command(Run(tmp_path / "run"), "format=all")
    folder = tmp_path / "run" / "export"
    props = {entry.key: entry.value for entry in onnx.load(folder / "decoder.onnx").metadata_props}
    assert json.loads(props["label_names"]) == list("0123456789")
    assert '"kind": "classes", "name": "label"' in (folder / "explorer.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("network", "likelihood", "image_shape"),
    [
        (Conv(4, 8, "add", ["encoder"]), Bernoulli(), (1, 28, 28)),
        (Residual(4, injection="modulate"), ContinuousBernoulli(), (1, 28, 28)),
        (Conv(4, 8), GaussianLearned(), (3, 30, 45)),
        (Conv(4, 8), Gaussian(), (3, 7, 5)),
        (Residual(4), GaussianOptimal(), (3, 31, 50)),
        (Residual(4), GaussianOptimal(), (1, 2, 3)),
        (MLP([16]), GaussianLearned(), (3, 5, 7)),
    ],
    ids=lambda part: "x".join(map(str, part)) if isinstance(part, tuple) else type(part).__name__,
)
def test_every_network_leaves_as_onnx(
    tmp_path: Path, network: Any, likelihood: nn.Module, image_shape: tuple[int, int, int]
) -> None:
    model = small(network, likelihood, image_shape=image_shape)
    label = {"label": torch.arange(4)}
    inputs = {"image": torch.rand(4, *model.image_shape), **label}
    encoder = onnx_graph(Encoder(model).eval(), inputs, ["mean", "log_var"], {})
    decoder = onnx_graph(Decoder(model).eval(), {"latent": torch.randn(4, 3), **label}, ["image"], {})
    (tmp_path / "encoder.onnx").write_bytes(encoder)
    (tmp_path / "decoder.onnx").write_bytes(decoder)
    check_onnx(tmp_path, model)
    graph = onnx.load(tmp_path / "decoder.onnx").graph
    shapes = [
        [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in [*graph.input, *graph.output]
    ]
    assert shapes == [["batch", 3], ["batch"], ["batch", *image_shape]]
    pads = [node.op_type for file in (encoder, decoder) for node in onnx.load_from_string(file).graph.node].count("Pad")
    assert pads == (0 if image_shape in ((1, 28, 28), (3, 7, 5), (1, 2, 3), (3, 5, 7)) else 2)


def test_what_differs_from_pytorch_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_models, "onnx_graph", lambda *_: b"a graph")
    monkeypatch.setattr(onnx_models, "largest_difference", lambda *_: 2e-5)
    model = small()
    with pytest.raises(UserError, match=r"Expected outputs of encoder.onnx within 1e-05 of PyTorch's, got .* of 2e-05"):
        list(onnx_models.write_onnx_models(model, metrics_of(model), tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("failing", ["onnx_graph", "largest_difference"])
@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("num_whole", [0, 1, 2])
def test_a_failure_at_any_file_leaves_no_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, failure: type[BaseException], num_whole: int
) -> None:
    calls = itertools.count()

    def stub(name: str, result: Any) -> None:
        def step(*_: Any) -> Any:
            if name == failing and next(calls) == num_whole:
                raise failure
            return result

        monkeypatch.setattr(onnx_models, name, step)

    stub("onnx_graph", b"a graph")
    stub("largest_difference", 0.0)
    model = small()
    with pytest.raises(failure):
        list(onnx_models.write_onnx_models(model, metrics_of(model), tmp_path))
    whole = sorted(f"{name}.onnx" for name in ("encoder", "decoder", "sampler")[:num_whole])
    assert sorted(path.name for path in tmp_path.iterdir()) == whole


def test_the_extra_is_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_models, "PACKAGES", ("onnx_that_is_not_there",))
    install = re.escape("pip install 'cvae_lightning[export]'.")
    with pytest.raises(UserError, match=f"format=onnx needs the package onnx_that_is_not_there.*{install}"):
        list(onnx_models.write_onnx_models(small(), metrics_of(small()), tmp_path))


def test_a_draw_follows_from_its_numbers() -> None:
    """A component of weight w is chosen by a share w of all uniform numbers; without noise its mean is drawn."""
    mixtures = mixtures_of(small(sampler=three_gaussians))
    uniform = (torch.arange(10_000) + 0.5) / 10_000
    z = Sampler(mixtures, Condition.of_classes(10))(torch.zeros(10_000, 3), uniform, torch.full((10_000,), 4))
    shares = torch.stack([(z == mean).all(1).double().mean() for mean in mixtures.means[4]])
    torch.testing.assert_close(shares.float(), mixtures.weights[4], atol=2e-4, rtol=0)


def test_a_prior_and_a_sampler_of_ones_own_are_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLUGINS, "own_parts")
    own = ["prior._target_=own_parts.SteppedPrior", "sampler._target_=own_parts.HalfSampler"]
    run = finished_run(tmp_path / "run", *SMALL, *own)
    command(run, "format=all")
    y = torch.full((20_000,), 8)
    numbers = {"noise": torch.randn(len(y), 3), "uniform": torch.rand(len(y))}
    (z,) = of_onnx(run.path / "export" / "sampler.onnx", **numbers, label=y)
    torch.testing.assert_close(z, 2 + 0.5 * numbers["noise"])
    page = (run.path / "export" / "explorer.html").read_text(encoding="utf-8")
    assert '"prior": {"means": [[0.0, 0.0, 0.0], [0.25, 0.25, 0.25]' in page


@pytest.mark.parametrize("override", ["sampler=mixture", "prior=learned"])
def test_moments_are_those_of_the_draws(override: str) -> None:
    model = untrained_model(*SMALL, override)
    y = torch.full((200_000,), 7)
    with torch.no_grad():
        z = model.sampler(y, model.prior(y))
    single = mixtures_of(model).as_single_gaussians()
    torch.testing.assert_close(single.means[7, 0], z.mean(0), atol=0.03, rtol=0)
    torch.testing.assert_close(single.factors[7, 0] @ single.factors[7, 0].T, z.T.cov(), atol=0.05, rtol=0.03)
    torch.testing.assert_close(mixtures_of(model).moments().log_var[7], z.var(0).log(), atol=0.03, rtol=0)


def test_the_latent_that_tells_most_comes_first() -> None:
    """The posterior is the prior but for one latent, whose mean follows the image."""
    model = small()
    encoder: Any = model.encoder
    last = encoder.layers[-1]
    nn.init.zeros_(last.bias)
    nn.init.zeros_(last.weight)
    nn.init.normal_(last.weight[1])
    kl = kl_by_latent(model)
    assert kl.argmax() == 1
    assert kl[[0, 2]].tolist() == [0, 0]
    assert kl_by_latent(model).tolist() == kl.tolist()


@pytest.mark.parametrize(
    ("network", "name", "products"),
    [(Conv(), "conv", "2,1"), (Residual(), "residual", "7,"), (MLP([3000, 3000]), "mlp", "11,3")],
    ids=["conv", "residual", "mlp"],
)
def test_a_decoder_that_the_page_cannot_redraw_is_refused_by_name(network: Any, name: str, products: str) -> None:
    model = small(network)
    what = rf"at most 10,000,000 multiplications per image \(network\), got '{name} with {products}"
    with pytest.raises(UserError, match=rf"{what}.*an image in 16 ms, in plain JavaScript: use format=onnx\."):
        explorer_page(model, metrics_of(model, name))


def test_the_paper_s_decoder_of_larger_images_in_colour_fits() -> None:
    model = CVAE(MLP(), Gaussian(), adam(0.001), image_shape=(3, 64, 64), latent_dim=20, num_classes=62)
    check_the_page_can_compute(model, "mlp")


class OtherGaussian(Gaussian):
    """Whose mean may be something else."""


def spoil_likelihood(model: VAE) -> None:
    model.likelihood_head = OtherGaussian()


def spoil_shape(model: VAE) -> None:
    model.image_shape = (2, 4, 4)


def spoil_weights(model: VAE) -> None:
    decoder: Any = model.decoder
    nn.init.constant_(decoder.layers[1].weight, 1e6)  # float16 ends at 65504


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_likelihood, r"Expected one of Gaussian, .* \(likelihood\), got 'OtherGaussian'"),
        (spoil_shape, r"Expected images of 1 or 3 channels.* \(data.image_shape\), got \[2, 4, 4\]"),
        (spoil_weights, r"Expected images within 2/255 with weights in float16 \(format\), got nan"),
    ],
)
def test_what_the_page_would_show_wrongly_is_refused(spoil: Callable[[VAE], None], message: str) -> None:
    model = small()
    spoil(model)
    with pytest.raises(UserError, match=message):
        explorer_page(model, metrics_of(model))


def test_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Expected one of html, onnx, all \(format\), got 'pdf'"):
        command(Run(finished_run(tmp_path / "run", *SMALL).path), "format=pdf")


def test_a_data_set_has_its_usual_name() -> None:
    names = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "emnist_letters": "EMNIST letters"}
    names |= {"birds": "birds", "my_birds": "my_birds", "mnist_": "mnist_"}
    assert {name: data_title(metrics_of_a_run(dataset={"name": name})) for name in names} == names


def test_names_stay_text_in_the_page() -> None:
    name = "</script><img src=x onerror=alert(1)>"
    condition = Condition.from_config({name: [name, "b"], "tags": {"flags": [name]}})
    model = small(condition=condition)
    page = explorer_page(model, metrics_of(model))
    assert "<img" not in page
    assert page.count("</script>") == 2


def test_the_page_is_one_small_file_without_addresses() -> None:
    """The paper's networks at the largest size that it searches, with the largest mixture of the presets."""
    overrides = ["latent_dim=50", "sampler=mixture", "sampler.num_components=40", "prior=learned", "data=digits"]
    model = untrained_model(*overrides, spread=0.02)
    page = explorer_page(model, metrics_of(model))
    assert len(page.encode()) <= 3e6
    assert not re.search(r"https?:|<link[^>]+href=\"(?!data:)|src=|@import|fetch\(|XMLHttp", page)
    assert "<dd>0.03123</dd>" in page
    assert "<dd>\u221212.5</dd>" in page
    assert "fid_judge" not in page, "it was not measured"


def in_chromium(folder: Path, page: str, script: str) -> Any:
    """The value of `result` when `script` has run at the end of `page`."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium or Chrome on the PATH")
    end = f"{script}\ndocument.body.innerHTML = `<pre>BEGIN${{JSON.stringify(result)}}END</pre>`;"
    file = folder / "page.html"
    file.write_text(page.replace("</body>", f"<script>{end}</script></body>"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'chromium'}", "--dump-dom"]
    dom = subprocess.run([CHROMIUM, *options, file.as_uri()], capture_output=True, text=True, check=True, timeout=120)
    found = re.search("BEGIN(.*)END", dom.stdout, re.DOTALL)
    assert found, dom.stdout[-2000:] + dom.stderr[-2000:]
    return json.loads(found[1])


def plain_page() -> str:
    script = (PACKAGE / "exporters" / "decoder.js").read_text(encoding="utf-8")
    return f"<!doctype html><meta charset='utf-8'><body><script>{script}</script></body>"


@pytest.mark.slow
def test_images_and_draws_of_the_page_are_those_of_pytorch(tmp_path: Path) -> None:
    """For every label injection and every mean: to 2/255. Draws: mean and covariance of each class, also
    when they are carried to another class."""
    models = [
        small(injection=injection, inject_into=places)
        for injection in ("concatenate", "add", "modulate")
        for places in (("encoder", "decoder"), ("encoder",), ("decoder",), ())
    ]
    models += [small(likelihood=each) for each in (Bernoulli(), ContinuousBernoulli(), GaussianOptimal())]
    models += [small(classes=0), small(MLP([]))]
    models += [
        small(condition=condition, image_shape=(3, 14, 19), injection=injection)
        for condition in CONDITIONS.values()
        for injection in ("concatenate", "add", "modulate")
    ]
    z, conditions = 2 * torch.randn(12, 3), [tried(model.condition)[-12:] for model in models]
    y = [values if values.ndim == 2 else torch.where(values < 0, torch.nan, values)[:, None] for values in conditions]
    mixture = mixtures_of(small(sampler=three_gaussians))
    given = {
        "decoders": [decoder_content(model) for model in models],
        "sampler": mixtures_content(mixture),
        "gaussians": mixtures_content(mixture.as_single_gaussians()),
        "columns": [[column_content(column) for column in model.condition.columns] for model in models],
        "z": z.tolist(),
        "y": [values.tolist() for values in y],
    }
    script = f"""const given = {json.dumps(given)};
      const z = given.z.map((values) => Float64Array.from(values));
      const contexts = given.columns.map((columns, model) => given.y[model].map((y) => contextOf(columns, y)));
      const groups = given.columns.map((columns, model) => given.y[model].map((y) => groupOf(columns, y)));
      const images = given.decoders.map((content, model) => {{
        const decode = decoderOf(content);
        return contexts[model].map((context, index) => [...decode(z[index], context)]);
      }});
      const label = (index) => 7 * (index % 2);
      const many = (draw) => Array.from({{ length: 10000 }}, (_, index) => [...draw(label(index))]);
      const [first, again] = [0, 0].map((seed) => samplerOf(given.sampler, seed));
      const draws = many(first);
      const same = draws.slice(0, 9).every((one, index) => String(one) === String([...again(label(index))]));
      const carried = carrierOf(given.gaussians);
      const there = draws.map((one, index) => [...carried(Float64Array.from(one), label(index), 3)]);
      const back = there.slice(0, 100).map((one, index) => [...carried(Float64Array.from(one), 3, label(index))]);
      const plain = contexts.map((each) => each.map((one) => [...one]));
      const result = {{ contexts: plain, groups, images, draws, same, there, back }};"""
    result = in_chromium(tmp_path, plain_page(), script)

    for model, values, context, groups, images in zip(
        models, conditions, *(result[key] for key in ("contexts", "groups", "images")), strict=True
    ):
        torch.testing.assert_close(torch.tensor(context).float(), model.context(values), atol=1e-6, rtol=1e-6)
        assert groups == model.condition.groups(values).tolist()
        with torch.no_grad():
            wanted = model.likelihood(z[: len(values)], values).mean.flatten(1)
        assert (torch.tensor(images) - wanted).abs().max() <= 2 / 255
        assert wanted.std(1).mean() > 0.02, "the images differ"

    assert result["same"]
    draws, there = (torch.tensor(result[key]) for key in ("draws", "there"))
    single = mixture.as_single_gaussians()
    for parity, label in enumerate((0, 7)):
        check_moments(draws[parity::2], single.means[label, 0], single.factors[label, 0])
        check_moments(there[parity::2], single.means[3, 0], single.factors[3, 0])
    torch.testing.assert_close(torch.tensor(result["back"]), draws[:100], atol=1e-5, rtol=0)


def check_moments(z: Tensor, mean: Tensor, factor: Tensor) -> None:
    """To five standard errors."""
    covariance = factor @ factor.T
    variances = covariance.diag()
    assert ((z.mean(0) - mean).abs() < 5 * (variances / len(z)).sqrt()).all()
    assert ((z.T.cov() - covariance).abs() < 5 * (2 * variances * variances[:, None] / len(z)).sqrt()).all()


@pytest.mark.slow
def test_the_page_is_used_with_keys_and_redraws_in_time(tmp_path: Path) -> None:
    """Of the paper's size. Each change is seen in the big image."""
    overrides = ["data=digits", "sampler=gaussian"]
    run = finished_run(tmp_path / "run", *overrides, spread=0.06)
    command(run)
    script = """
      const press = (key) => { document.dispatchEvent(new KeyboardEvent("keydown", { key })); render(); };
      const bytes = () => [...image.getContext("2d").getImageData(0, 0, width, height).data];
      const seen = () => bytes().filter((_, index) => index % 4 === (ink ? 3 : 0));
      const chosen = () => controls[0].radios.findIndex((radio) => radio.checked);
      const start = { chosen: chosen(), kl: order.map((latent) => kl[latent]), sliders: sliders.length };
      press("7");
      const seven = { chosen: chosen(), seen: seen(), z: [...here.z], frame: seen() };
      sliders[0].slider.value = -1;
      sliders[0].slider.dispatchEvent(new Event("input"));
      render();
      const moved = { z: [...here.z], seen: seen(), latent: order[0] };
      press("a");
      press("2");
      press("b");
      way.value = 0;
      way.dispatchEvent(new Event("input"));
      render();
      const atA = { chosen: chosen(), seen: seen() };
      way.value = 1;
      way.dispatchEvent(new Event("input"));
      render();
      const atB = { chosen: chosen() };
      by("moved").checked = false;
      const [z] = [here.z];
      press("5");
      const kept = { chosen: chosen(), same: z.every((value, latent) => value === here.z[latent]) };
      const result = { start, seven, moved, atA, atB, kept };"""
    result = in_chromium(tmp_path, (run.path / "export" / "explorer.html").read_text(encoding="utf-8"), script)
    assert result["start"]["sliders"] == 20
    assert result["start"]["kl"] == sorted(result["start"]["kl"], reverse=True)
    assert result["start"]["chosen"] == 3
    seven, moved = result["seven"], result["moved"]
    assert seven["chosen"] == 7
    for state in (seven, moved):
        with torch.no_grad():
            wanted = run.model().likelihood(torch.tensor([state["z"]]), torch.tensor([7])).mean.flatten()
        assert (torch.tensor(state["seen"]) / 255 - wanted).abs().max() <= 3 / 255, "2/255, and rounding to 8 bits"
    changed = [latent for latent in range(20) if seven["z"][latent] != moved["z"][latent]]
    assert changed == [moved["latent"]]
    assert moved["z"][changed[0]] == -1
    assert seven["seen"] != moved["seen"]
    assert result["atA"] == {"chosen": 7, "seen": moved["seen"]}
    assert result["atB"] == {"chosen": 2}
    assert result["kept"] == {"chosen": 5, "same": True}


@pytest.mark.slow
@pytest.mark.parametrize("classes", [["wren", "robin", "owl"], [f"a bird with the long name {n}" for n in range(200)]])
def test_each_control_changes_its_own_value(tmp_path: Path, classes: list[str]) -> None:
    """In colour, with a control of each kind: the big image, each small one, and the group of a draw are PyTorch's."""
    described = {"species": classes, "angle": ANGLE, "tags": {"flags": ["day", "wet"]}, "ring": ["no", "yes"]}
    condition = Condition.from_config(described).with_unknown()
    model = small(condition=condition, image_shape=(3, 14, 19), sampler=three_gaussians)
    script = """
      const bytes = (canvas) => [...canvas.getContext("2d").getImageData(0, 0, width, height).data];
      const state = () => {
        render();
        paintPictures(Infinity);
        const small = tiles.map(({ canvas }) => bytes(canvas));
        const label = image.getAttribute("aria-label");
        return { z: [...here.z], y: [...here.y], group: groupAt(here), seen: bytes(image), small, label };
      };
      const [species, angle, tags, ring] = document.querySelectorAll("fieldset");
      const within = (fieldset) => [...fieldset.querySelectorAll("input, select")];
      const set = (control, value) => {
        if (control.type === "checkbox" || control.type === "radio") control.checked = value;
        else control.value = value;
        control.dispatchEvent(new Event("input"));
        control.dispatchEvent(new Event("change"));
      };
      const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", { key }));
      const chooseSpecies = (label) => {
        if (tiles.length) set(within(species)[Number.isNaN(label) ? 3 : label], true);
        else set(within(species)[0], label);
      };
      const steps = [state()];
      const then = (change) => { change(); steps.push(state()); };
      then(() => chooseSpecies(2));
      then(() => set(within(angle)[0], 30));
      then(() => set(within(angle)[1], true));
      then(() => set(within(angle)[1], false));
      then(() => set(within(tags)[1], true));
      then(() => set(within(tags)[2], true));
      then(() => set(within(tags)[0], true));
      then(() => set(within(ring)[1], true));
      then(() => set(within(ring)[2], true));
      then(() => press("1"));
      then(() => chooseSpecies(NaN));
      const typed = new KeyboardEvent("keydown", { key: "2", bubbles: true });
      if (!tiles.length) then(() => within(species)[0].dispatchEvent(typed));
      const result = steps;"""
    states = in_chromium(tmp_path, explorer_page(model, metrics_of(model)), script)
    y = torch.tensor([[torch.nan if value is None else value for value in state["y"]] for state in states])
    unknown = [torch.nan]
    typical = [ANGLE["mean"]]
    assert (
        y.nan_to_num(-1).tolist()
        == torch.tensor(
            [
                [3 % len(classes), *typical, 0, 0, 0],
                [2, *typical, 0, 0, 0],
                [2, 30, 0, 0, 0],
                [2, *unknown, 0, 0, 0],
                [2, 30, 0, 0, 0],
                [2, 30, 0, 1, 0],
                [2, 30, *unknown, *unknown, 0],
                [2, 30, 1, 0, 0],
                [2, 30, 1, 0, 1],
                [2, 30, 1, 0, *unknown],
                [1, 30, 1, 0, *unknown],
                [*unknown, 30, 1, 0, *unknown],
                [*unknown, 30, 1, 0, *unknown],
            ][: len(y)]
        )
        .nan_to_num(-1)
        .tolist()
    )
    assert states[8]["label"] == f"Image of {classes[2]}, angle 30, day, yes"
    assert states[6]["label"] == f"Image of {classes[2]}, angle 30, any tags, no"
    for state, values in zip(states, y, strict=True):
        assert state["group"] == int(condition.groups(values[None]))
        with torch.no_grad():
            wanted = model.likelihood(torch.tensor([state["z"]]), values[None]).mean[0]
        assert (colours(state["seen"]) - wanted).abs().max() <= 3 / 255, "2/255, and rounding to 8 bits"
    small_images = states[0]["small"]
    assert len(small_images) == (4 if len(classes) == 3 else 0)
    for index, picture in enumerate(small_images):  # by the first state's own class the image is the same
        assert (picture == states[0]["seen"]) == (index == 0)


def colours(rgba: list[int]) -> Tensor:
    """The pixels of a canvas of 14x19 as an image, (3, 14, 19) in [0, 1]."""
    return torch.tensor(rgba).view(14, 19, 4)[..., :3].permute(2, 0, 1) / 255


def test_the_prior_is_exported_as_what_it_is() -> None:
    moments = small().prior_net.mixtures().moments()
    assert moments.mean.tolist() == moments.log_var.tolist() == [[0, 0, 0]]


FLOW = functools.partial(FlowPrior, num_couplings=3, hidden=[7, 5])


def flow_model(condition: Condition) -> VAE:
    model: Any = CVAE if condition else VAE
    named = {"condition": condition} if condition else {}
    return randomised(model(MLP([16]), Gaussian(), adam(0.001), latent_dim=5, prior=FLOW, **named))


def flow_groups(condition: Condition) -> list[int]:
    return list(range(max(condition.num_groups, 1)))


FLOW_CONDITIONS = [Condition(), Condition.of_classes(4), *CONDITIONS.values()]


def test_a_flow_is_exported(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run", *SMALL, "latent_dim=5", "prior=flow", "prior.hidden=[8]")
    command(run, "format=all")
    model, y, noise = run.model(), torch.arange(10).repeat(3), torch.randn(30, 5)
    (z,) = of_onnx(run.path / "export" / "sampler.onnx", noise=noise, label=y)
    prior: Any = model.prior_net
    with torch.no_grad():
        wanted = prior.flow.inverse(noise, torch.eye(10)[y])
    torch.testing.assert_close(z, wanted, atol=1e-5, rtol=1e-5)
    assert (z[:10] - prior.flow.inverse(noise[:10], torch.eye(10)[y[:10].flip(0)])).abs().max() > 0.01
    page = (run.path / "export" / "explorer.html").read_text(encoding="utf-8")
    assert '"orders": [[' in page
    assert "the prior" in page


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(FLOW_CONDITIONS)))
def test_the_graph_of_a_flow_takes_every_condition(tmp_path: Path, number: int) -> None:
    model = flow_model(FLOW_CONDITIONS[number])
    assert len(list(onnx_models.write_onnx_models(model, metrics_of(model), tmp_path))) == 3, "each within 1e-5"


@pytest.mark.slow
def test_draws_of_a_flow_on_the_page_are_those_of_pytorch(tmp_path: Path) -> None:
    models = [flow_model(condition) for condition in FLOW_CONDITIONS]
    priors: Any = [model.prior_net for model in models]
    noise = torch.randn(6, 5)
    given = {
        "flows": [flow_content(prior) for prior in priors],
        "groups": [flow_groups(condition) for condition in FLOW_CONDITIONS],
        "noise": noise.tolist(),
    }
    script = f"""const given = {json.dumps(given)};
      const noise = given.noise.map((values) => Float64Array.from(values));
      const draws = given.flows.map((content, model) => {{
        const draw = flowOf(content);
        return given.groups[model].map((group) => noise.map((one) => [...draw(one, group)]));
      }});
      const sampler = samplerOf(given.flows[1], 0);
      const sampled = Array.from({{ length: 4000 }}, () => [...sampler(2)]);
      const result = {{ draws, sampled }};"""
    result = in_chromium(tmp_path, plain_page(), script)
    for prior, draws in zip(priors, result["draws"], strict=True):
        for group, drawn in enumerate(draws):
            context = torch.eye(max(prior.num_classes, 1))[group, : prior.num_classes].expand(len(noise), -1)
            with torch.no_grad():
                wanted = prior.flow.inverse(noise, context)
            torch.testing.assert_close(torch.tensor(drawn), wanted, atol=0.02, rtol=0.02)  # weights in float16
    gaussians = priors[1].gaussians()
    check_moments(torch.tensor(result["sampled"]), gaussians.means[2, 0], gaussians.factors[2, 0])
