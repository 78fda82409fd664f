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
from cvae_lightning.core.errors import UserError
from cvae_lightning.core.plugins import PLUGINS
from cvae_lightning.exporters import onnx_models
from cvae_lightning.exporters.explorer import explorer_page
from cvae_lightning.exporters.export import export
from cvae_lightning.exporters.javascript import decoder_content, mixtures_content
from cvae_lightning.exporters.labels import label_names
from cvae_lightning.exporters.onnx_models import Decoder, Encoder, Sampler, onnx_graph
from cvae_lightning.models.cvae import CVAE
from cvae_lightning.models.inference import kl_by_latent
from cvae_lightning.models.latents import GaussianMixtures
from cvae_lightning.models.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian, GaussianLearned, GaussianOptimal
from cvae_lightning.models.optimizers import adam
from cvae_lightning.models.samplers import MixtureSampler, PriorSampler
from cvae_lightning.models.vae import VAE
from cvae_lightning.networks.conv import Conv
from cvae_lightning.networks.mlp import MLP
from cvae_lightning.networks.residual import Residual
from cvae_lightning.runs.run import Run

SMALL = ["latent_dim=3", "data=digits", "network.hidden=[16,12]"]
three_gaussians = functools.partial(MixtureSampler, num_components=3)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


def small(
    network: Any = None,
    likelihood: nn.Module | None = None,
    classes: int = 10,
    sampler: Any = PriorSampler,
    image_shape: tuple[int, int, int] = (1, 28, 28),
    **arguments: Any,
) -> VAE:
    parts = network or MLP([16, 12], **arguments), likelihood or Gaussian(), adam(0.001)
    model = CVAE if classes else VAE
    return randomised(model(*parts, image_shape=image_shape, latent_dim=3, num_classes=classes, sampler=sampler))


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
    assert json.loads(props["label_names"]) == [str(digit) for digit in range(model.num_classes)]
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
    z = Sampler(mixtures)(torch.zeros(10_000, 3), uniform, torch.full((10_000,), 4))
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
    [(Conv(), "conv", "2,1"), (Residual(), "residual", "7,"), (MLP([1000, 1000]), "mlp", "1,7")],
    ids=["conv", "residual", "mlp"],
)
def test_a_decoder_that_the_page_cannot_redraw_is_refused_by_name(network: Any, name: str, products: str) -> None:
    model = small(network)
    what = rf"at most 1,000,000 multiplications per image \(network\), got '{name} with {products}"
    with pytest.raises(UserError, match=rf"{what}.*eleven images in 16 ms, in plain JavaScript: use format=onnx\."):
        explorer_page(model, metrics_of(model, name))


class OtherGaussian(Gaussian):
    """Whose mean may be something else."""


def spoil_likelihood(model: VAE) -> None:
    model.likelihood_head = OtherGaussian()


def spoil_shape(model: VAE) -> None:
    model.image_shape = (3, 4, 4)


def spoil_weights(model: VAE) -> None:
    decoder: Any = model.decoder
    nn.init.constant_(decoder.layers[1].weight, 1e6)  # float16 ends at 65504


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_likelihood, r"Expected one of Gaussian, .* \(likelihood\), got 'OtherGaussian'"),
        (spoil_shape, r"Expected grey images \(data.image_shape\), got \[3, 4, 4\]"),
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


def test_labels_have_the_names_of_their_data_set() -> None:
    assert label_names("mnist", 10) == list("0123456789")
    assert label_names("fashion_mnist", 10)[9] == "Ankle boot"
    assert len(set(label_names("kmnist", 10))) == 10
    assert label_names("mnist", 0) == label_names("fashion_mnist", 0) == []


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
    z, y = 2 * torch.randn(12, 3), torch.arange(12) % 10
    mixture = mixtures_of(small(sampler=three_gaussians))
    given = {
        "decoders": [decoder_content(model) for model in models],
        "sampler": mixtures_content(mixture),
        "gaussians": mixtures_content(mixture.as_single_gaussians()),
        "z": z.tolist(),
        "y": y.tolist(),
    }
    script = f"""const given = {json.dumps(given)};
      const z = given.z.map((values) => Float64Array.from(values));
      const images = given.decoders.map((content) => {{
        const decode = decoderOf(content);
        const numbers = Array.from({{ length: content.classes }}, (_, label) => label);
        const context = (label) => Float64Array.from(numbers, (other) => Number(other === label));
        return z.map((one, index) => [...decode(one, context(given.y[index]))]);
      }});
      const label = (index) => 7 * (index % 2);
      const many = (draw) => Array.from({{ length: 10000 }}, (_, index) => [...draw(label(index))]);
      const [first, again] = [0, 0].map((seed) => samplerOf(given.sampler, seed));
      const draws = many(first);
      const same = draws.slice(0, 9).every((one, index) => String(one) === String([...again(label(index))]));
      const carried = carrierOf(given.gaussians);
      const there = draws.map((one, index) => [...carried(Float64Array.from(one), label(index), 3)]);
      const back = there.slice(0, 100).map((one, index) => [...carried(Float64Array.from(one), 3, label(index))]);
      const result = {{ images, draws, same, there, back }};"""
    result = in_chromium(tmp_path, plain_page(), script)

    with torch.no_grad():
        wanted = torch.stack([model.likelihood(z, y).mean.flatten(1) for model in models])
    difference = (torch.tensor(result["images"]) - wanted).abs().amax((1, 2))
    assert difference.max() <= 2 / 255, difference
    assert wanted.std(1).mean() > 0.05, "the images differ"

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
      const seen = () => bytes().filter((_, index) => index % 4 === 3);
      const chosen = () => radios.findIndex((radio) => radio.checked);
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


def test_the_prior_is_exported_as_what_it_is() -> None:
    moments = small().prior_net.mixtures().moments()
    assert moments.mean.tolist() == moments.log_var.tolist() == [[0, 0, 0]]
