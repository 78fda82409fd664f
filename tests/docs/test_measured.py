"""What sentences, presets and goals claim about the numbers that are kept in multirun/reference."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmark import commits
from helpers import composed
from kept import REFERENCE, ROOT, complete, kept
from pages import ablation, benchmark, claims
from pages.reference import rows_of_table_3, sample_rows, times_the_floor

from cvae_lightning.core.build import CONF
from cvae_lightning.runs.paper import TABLE_3

SEEDS = [0, 1, 2]
SCORE = "test/score"
REPORTS = {"table3": 39, "table2": 12, "nine": 9, "grid": 60, "best": 6}
CLAIMS = {"epochs": 5, "learning_rate": 6, "latent_dim": 6, "label": 6, "network": 2}
TEN_SEEDS = {"latent_dim": 6, "label": 2, "network": 2}  # settings of these claims that have seeds 3 to 9 as well
LIKELIHOODS = ["nll_vae", "nll_cvae", "nll_iwae", "nll_mixture", "nll_mixture_given_label", "nll_vae_mlp"]
ABLATION = sorted(path.stem for path in (CONF / "experiment" / "ablation").glob("*.yaml"))


def means(name: str, by: str | list[str], key: str = SCORE) -> Any:
    return complete(name).groupby(by)[key].mean()


@pytest.mark.parametrize("name", REPORTS)
def test_a_sweep_with_a_report_is_whole(name: str) -> None:
    frame = kept(f"{name}/sweep")
    assert len(frame) == REPORTS[name]
    assert set(frame["status"]) == {"complete"}
    assert set(frame["dataset"]) == {"mnist"}
    assert frame["dataset_sha256"].nunique() == 1
    assert not frame.duplicated(["model", "epochs", "latent_dim", "lr", "seed"]).any()
    assert {path.name for path in (REFERENCE / name).iterdir()} == {"plots", "report.html", "report.md", "sweep.csv"}


@pytest.mark.parametrize(
    ("name", "setting", "settings"),
    [
        ("table3/sweep", ["epochs", "latent_dim", "lr"], list(TABLE_3)),
        ("table2/sweep", ["model", "latent_dim"], [("cvae", 15), ("cvae", 20), ("vae", 15), ("vae", 20)]),
        ("best/sweep", ["model"], ["cvae", "vae"]),
        ("best_conv/sweep", ["model"], ["cvae"]),
        ("likelihood/sweep", ["experiment"], LIKELIHOODS),
        ("own/turned_digits", ["dataset"], ["turned_digits"]),
        ("own/letters", ["dataset"], ["letters"]),
        ("ablation/sweep", ["experiment"], ABLATION),
        ("ablation/long", ["experiment", "epochs"], [("no_shift", 50), ("no_weight_decay", 50)]),
        (
            "ablation/paper_settings",
            ["bound.warmup_epochs", "bound.free_bits"],
            [(warmup, bits) for warmup in (0, 5) for bits in (0, 0.1)],
        ),
        ("ablation/samplers", ["way", "draw"], [(way, draw) for way in ablation.SAMPLERS for draw in (0, 1)]),
    ],
)
def test_each_setting_was_run_with_three_seeds(name: str, setting: list[str], settings: list[object]) -> None:
    frame = kept(name)
    seeds = frame.groupby(setting[0] if len(setting) == 1 else setting)["seed"].apply(sorted)
    assert seeds.to_dict() == dict.fromkeys(settings, SEEDS)
    assert "status" not in frame or set(frame["status"]) == {"complete"}


@pytest.mark.parametrize("name", claims.SWEEPS)
def test_each_setting_of_a_claim_was_run_with_three_seeds_or_with_ten(name: str) -> None:
    frame = kept(f"claims/{name}")
    more = dict.fromkeys(range(3, 10), TEN_SEEDS[name]) if name in TEN_SEEDS else {}
    assert frame.groupby("seed").size().to_dict() == dict.fromkeys(SEEDS, CLAIMS[name]) | more
    if name == "label":
        assert set(frame.loc[frame["seed"] > 2, "experiment"]) == {"concatenate", "add"}, "those of claim 5"
    assert set(frame["dataset_sha256"].dropna()) == set(kept("grid/sweep")["dataset_sha256"])
    may_fail = frame["lr"] >= 0.02
    assert set(frame.loc[~may_fail, "status"]) == {"complete"}
    assert set(frame.loc[may_fail, "status"]) <= {"complete", "failed"}


def test_the_kept_files_are_small_and_hold_no_weights() -> None:
    files = [path for path in REFERENCE.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 3_000_000
    assert {path.suffix for path in files} == {".csv", ".md", ".html", ".png"}


def test_each_experiment_of_the_ablation_is_a_line_of_one_table() -> None:
    assert sorted([ablation.BEST, *ablation.REMOVED, *ablation.ADDED]) == ABLATION


@pytest.mark.parametrize("file", sorted((CONF / "experiment" / "claims").rglob("*.yaml")), ids=lambda path: path.stem)
def test_each_experiment_of_a_claim_is_a_command_of_the_page(file: Path) -> None:
    name = str(file.relative_to(CONF / "experiment").with_suffix(""))
    page = (ROOT / "docs" / "claims.md").read_text()
    assert composed(f"experiment={name}").data.name == "mnist"
    assert f"-m experiment={name}\n" in page or f"-m 'experiment=glob({name.rpartition('/')[0]}/*)'" in page


def test_claim_1_more_epochs_raise_the_score_by_ever_less() -> None:
    score = means("claims/epochs", "epochs")
    assert score.is_monotonic_increasing
    assert score[30] - score[10] > score[100] - score[30]
    grid = means("grid/sweep", ["lr", "epochs"]).unstack("epochs")
    assert all(row.is_monotonic_increasing for _, row in grid.iterrows())


def test_claim_2_the_best_learning_rate_is_0_002_in_short_trainings_only() -> None:
    score = means("claims/learning_rate", "lr")
    assert score.idxmax() == 0.002
    assert max(score[0.0001], score[0.005]) < score[0.001]
    grid = means("grid/sweep", ["lr", "epochs"]).unstack("lr")
    assert set(grid.loc[[10, 20, 30]].idxmax(axis="columns")) == {0.002}
    assert grid.loc[50].idxmax() == 0.001


def test_claim_4_the_val_loss_of_no_family_is_higher_after_50_epochs_than_after_30() -> None:
    loss = kept("grid/sweep").pivot_table(index=["lr", "latent_dim"], columns="epochs", values="val/loss")
    assert len(loss) == 15
    assert not (loss[50] > loss[30]).any()


def test_claim_6_the_variance_is_a_tenth_with_a_baseline_and_far_less_without() -> None:
    rows = claims.variances()
    assert (rows["reinforce_baseline"] / rows["reparameterised"]).between(5, 30).all()
    assert (rows["reinforce"] / rows["reparameterised"] > 100).all()


def test_claim_7_a_calibrated_decoder_brings_the_label_back_into_z() -> None:
    leak = means("claims/label", "experiment", "val/label_leak")
    assert leak["concatenate"] < 0.25 < leak["vae"] < kept("best/sweep")["val/label_leak"].min()
    assert leak["concatenate"] < leak["add"]


def test_claim_8_compares_networks_of_equal_size() -> None:
    sizes = complete("claims/network").groupby("experiment")["parameters"].first()
    assert sizes["conv"] == pytest.approx(sizes["mlp"], rel=0.02)


GOALS: dict[tuple[str, str], dict[str, float]] = {
    ("best/sweep", "cvae"): {"score_uncapped": 32, "ssim": 0.94, "accuracy": 0.99, "accuracy_worst_class": 0.97},
    ("best/sweep", "vae"): {"score_uncapped": 11},
    ("best_conv/sweep", "cvae"): {"score_uncapped": 33},
}
LIMITS: dict[tuple[str, str], dict[str, float]] = {
    ("best/sweep", "cvae"): {"mse": 0.0055, "fid_pixel": 1.4},
    ("likelihood/sweep", "nll_vae"): {"nll_iw": 80.5},
    ("likelihood/sweep", "nll_cvae"): {"nll_iw": 78.6},
    ("likelihood/sweep", "nll_iwae"): {"nll_iw": 84.5},
    ("likelihood/sweep", "nll_mixture"): {"nll_iw": 86.3},
    ("likelihood/sweep", "nll_mixture_given_label"): {"nll_iw": 82.3},
}


def on_val(name: str, which: str) -> Any:
    """The means over seeds of a model, or of an experiment where the sweep has several."""
    by = "experiment" if name.startswith("likelihood") else "model"
    row: Any = kept(name).groupby(by).mean(numeric_only=True).loc[which]
    return row.filter(like="val/").rename(lambda key: key.removeprefix("val/"))


@pytest.mark.parametrize("run", sorted(GOALS.keys() | LIMITS.keys()), ids="-".join)
def test_a_preset_reaches_its_goals_on_val(run: tuple[str, str]) -> None:
    row = on_val(*run)
    assert all(row[key] >= goal for key, goal in GOALS.get(run, {}).items())
    assert all(row[key] <= limit for key, limit in LIMITS.get(run, {}).items())


def test_the_likelihoods_are_of_5000_importance_samples() -> None:
    assert set(kept("likelihood/sweep")["val/nll_iw_samples"]) == {5000}


@pytest.mark.parametrize(
    ("name", "folder", "model"),
    [("cvae_best", "best", "cvae"), ("vae_best", "best", "vae"), ("cvae_best_conv", "best_conv", "cvae")],
)
def test_the_benchmark_has_the_runs_that_are_kept_one_by_one(name: str, folder: str, model: str) -> None:
    family = kept("benchmark/families").set_index("name").loc[name]
    rows: Any = kept(f"{folder}/sweep").query("model == @model")
    metrics = [key for key in rows if key.startswith(("val/", "test/"))]
    expected = {key: pytest.approx(rows[key].mean(), rel=1e-5, nan_ok=True) for key in metrics}
    assert family[metrics].to_dict() == expected


def test_each_family_of_the_benchmark_names_the_commits_of_its_runs() -> None:
    families = kept("benchmark/families").set_index("name")
    assert families["commit"].str.fullmatch(r"(([0-9a-f]{40}|not recorded)(, )?)+").all()
    for folder in ("best", "best_conv"):
        rows = kept(f"{folder}/sweep").query("model == 'cvae'")
        assert commits(rows) == families["commit"][f"cvae_{folder}"]


def test_each_family_of_the_benchmark_has_three_seeds_and_a_small_picture() -> None:
    assert {family.sweep for family in benchmark.FAMILIES} == set(benchmark.SWEEPS)
    assert set(benchmark.families()["n"]) == {len(SEEDS)}
    pictures = [ROOT / "docs" / "benchmark" / f"{family.name}.png" for family in benchmark.FAMILIES]
    assert max(path.stat().st_size for path in [*pictures, *(ROOT / "docs" / "claims").iterdir()]) <= 60_000


def test_the_reference_says_how_many_runs_each_sweep_has() -> None:
    """In its first table. The files that are passed over have no row per run."""
    lines = (REFERENCE / "README.md").read_text().partition("\n## ")[0].splitlines()
    stated = {found[1]: int(found[2]) for line in lines if (found := re.match(r"\| \[([\w/]+)\].* \| (\d+) \| ", line))}
    counted = dict.fromkeys(stated, 0)
    for path in REFERENCE.rglob("*.csv"):
        name = path.relative_to(REFERENCE).with_suffix("")
        if str(name).endswith("_curves") or str(name) in ("ablation/samplers", "theory/principal_variances"):
            continue
        rows = kept(str(name))
        sweep = str(name) if str(name) in stated else name.parts[0]
        counted[sweep] += int(rows["n"].sum()) if str(name) == "benchmark/families" else len(rows)
    assert counted == stated


def floors(name: str, split: str) -> float:
    """How many times the floor the `fid_judge` of the CVAE's samples is."""
    return times_the_floor(kept(name).query("model == 'cvae'"), split)


def agreement() -> tuple[str, str]:
    rows = rows_of_table_3()
    difference = (rows["mean"] - rows["paper"]).abs().mean()
    return f"{difference:.2f}", f"{rows['mean'].corr(rows['paper'], method='spearman'):.3f}"


def agreement_below_0_005() -> tuple[str]:
    rows = rows_of_table_3().query("lr < 0.005")
    return (f"{(rows['mean'] - rows['paper']).abs().mean():.2f}",)


def best_latent_dim() -> tuple[str, str, str]:
    scores = kept("grid/sweep").query("lr == 0.002 and epochs == 50").set_index("latent_dim")[SCORE]
    return str(scores.idxmax()), f"{scores.max():.2f}", f"{scores[15]:.2f}"


def after_50_epochs() -> tuple[str, str]:
    scores = means("grid/sweep", ["epochs", "lr"])[50]
    return f"{scores[0.001]:.2f}", f"{scores[0.002]:.2f}"


def on_test(preset: str) -> str:
    return f"{kept('likelihood/sweep').query('experiment == @preset')['test/nll_iw'].mean():.1f}"


def of_seeds(name: str, preset: str, key: str, errors: bool = False) -> tuple[str, ...]:
    """Mean and standard deviation on val, and on test; as percentages of errors if `key` is an accuracy."""
    rows = kept(name).query("experiment == @preset")[[f"val/{key}", f"test/{key}"]]
    rows = 100 * (1 - rows) if errors else rows
    return tuple(f"{number:.2f}" for split in rows for number in (rows[split].mean(), rows[split].std()))


def errors(preset: str) -> tuple[str, ...]:
    return of_seeds("few_labels/runs", preset, "classifier_accuracy", errors=True)


def verdict_5() -> tuple[str]:
    return (claims.label()["concatenate_add"].verdict.lower(),)


def below_public() -> tuple[str]:
    """By how much the `nll_iw` of nll_mixture on test is below the public 86.35, nats."""
    return (f"{86.35 - means('likelihood/sweep', 'experiment', 'test/nll_iw')['nll_mixture']:.1f}",)


def missing_of_cas(experiment: str, dataset: str) -> list[float]:
    """By how many points samples teach a judge less than real images do, on val and on test."""
    rows = kept("conditional/runs").query("experiment == @experiment and dataset == @dataset")
    return [100 * (rows[f"{split}/cas_real"] - rows[f"{split}/cas"]).mean() for split in ("val", "test")]


def test_samples_teach_a_judge_nearly_what_real_images_do() -> None:
    assert max(missing_of_cas("best_conv", "mnist")) <= 0.5
    assert max(missing_of_cas("best_fashion", "fashion_mnist")) <= 4


def test_samples_of_the_residual_network_are_as_close_as_real_images_or_nearly() -> None:
    assert_within_times_the_floor("`best_samples`", 1.3)


def test_samples_of_the_fully_connected_network_are_within_twice_the_floor() -> None:
    assert_within_times_the_floor("`best`, 64 latents, 800 components", 2)


def assert_within_times_the_floor(line: str, most: float) -> None:
    rows = sample_rows()[line]
    assert set(rows["seed"]) == {0, 1, 2}
    assert max(times_the_floor(rows, split) for split in ("val", "test")) <= most


def in_times_the_floor(line: str) -> tuple[str, ...]:
    return tuple(f"{times_the_floor(sample_rows()[line], split):.2f}" for split in ("val", "test"))


STATED: list[tuple[str, str, Callable[[], tuple[str, ...]]]] = [
    (
        "docs/reproduction.md",
        r"(\d+\.\d+) times[^.]*?\bval\b[^.]*?(\d+\.\d+) times[^.]*?\btest\b",
        lambda: tuple(f"{floors('best/sweep', split):.1f}" for split in ("val", "test")),
    ),
    (
        "docs/results.md",
        r"(\d+\.\d+) times[^.]*?\bval\b[^.]*?(\d+\.\d+) times[^.]*?\btest\b",
        lambda: tuple(f"{floors('best_conv/sweep', split):.2f}" for split in ("val", "test")),
    ),
    *(
        (page, r"mean absolute difference[^\d]*(\d+\.\d+).*?rank correlation[^\d]*(\d+\.\d+)", agreement)
        for page in ("README.md", "docs/reproduction.md")
    ),
    *(
        (page, r"with lr below 0\.005,? the (?:mean absolute )?difference is (\d+\.\d+)", agreement_below_0_005)
        for page in ("README.md", "docs/reproduction.md")
    ),
    ("README.md", r"beats adding it is \*\*([a-z]+(?: in \d+ of \d+ seeds)?)", verdict_5),
    ("docs/results.md", r"difference of ([\d.]+) nats between `nll_mixture` and 86\.35", below_public),
    (
        "docs/results.md",
        r"`experiment=few_labels`, M1 \+ M2 \| ([\d.]+) ± ([\d.]+) \| ([\d.]+) ± ([\d.]+)",
        lambda: errors("few_labels"),
    ),
    (
        "docs/results.md",
        r"`experiment=few_labels_m2`, M2 \| ([\d.]+) ± ([\d.]+) \| ([\d.]+) ± ([\d.]+)",
        lambda: errors("few_labels_m2"),
    ),
    (
        "docs/results.md",
        r"with `best_conv` ([\d.]+) points less on val and ([\d.]+) on test",
        lambda: tuple(f"{points:.2f}" for points in missing_of_cas("best_conv", "mnist")),
    ),
    (
        "docs/results.md",
        r"leave the judge ([\d.]+) points below real images on val and ([\d.]+) on test",
        lambda: tuple(f"{points:.1f}" for points in missing_of_cas("best_fashion", "fashion_mnist")),
    ),
    (
        "docs/results.md",
        r"of `best_samples` is ([\d.]+) times its floor on val, ([\d.]+) times on test",
        lambda: in_times_the_floor("`best_samples`"),
    ),
    (
        "docs/results.md",
        r"With 800 components, the fully connected network of `best` has ([\d.]+) and ([\d.]+) times",
        lambda: in_times_the_floor("`best`, 64 latents, 800 components"),
    ),
    ("docs/reproduction.md", r"`experiment=nll_vae`[^\d]*([\d.]+) nats", lambda: (on_test("nll_vae"),)),
    ("docs/reproduction.md", r"`nll_cvae`[^\d]*([\d.]+)", lambda: (on_test("nll_cvae"),)),
    ("multirun/reference/README.md", r"([\d.]+) against ([\d.]+)", after_50_epochs),
    ("multirun/reference/README.md", r"best[^.]*? is (\d+) \(([\d.]+)\)[^.]*?(\d+\.\d+)", best_latent_dim),
]


@pytest.mark.parametrize(("file", "pattern", "computed"), STATED, ids=range(len(STATED)))
def test_a_sentence_states_what_was_measured(file: str, pattern: str, computed: Callable[[], tuple[str, ...]]) -> None:
    found = re.search(pattern, " ".join((ROOT / file).read_text().split()))
    assert found, f"{file} no longer says it"
    assert found.groups() == computed()


def test_the_readme_gives_the_verdict_of_each_claim() -> None:
    """The words in bold of each numbered line are those of the claim's row on the page."""
    readme, page = ((ROOT / name).read_text() for name in ("README.md", "docs/claims.md"))
    verdicts = dict(re.findall(r"^(\d)\. .*?\*\*(.+?)\*\*", readme, re.M))
    rows = dict(re.findall(r"^\| \[(\d)\]\(#.+?\| .+? \| (.+) \|$", page, re.M))
    assert list(verdicts) == list(rows) == list("123456789")
    for number, verdict in verdicts.items():
        assert f"**{verdict.lower()}**" in rows[number].lower(), number


HEADERS = {
    "best_conv": ("best_conv/sweep", "val/score_uncapped", 2),
    "nll_vae": ("likelihood/sweep", "val/nll_iw", 2),
    "nll_cvae": ("likelihood/sweep", "val/nll_iw", 2),
    "nll_iwae": ("likelihood/sweep", "val/nll_iw", 2),
    "nll_mixture": ("likelihood/sweep", "val/nll_iw", 2),
}


@pytest.mark.parametrize("preset", [*HEADERS, "best_vae_conv"])
def test_the_header_of_a_preset_states_what_was_measured(preset: str) -> None:
    header = (CONF / "experiment" / f"{preset}.yaml").read_text().partition("defaults:")[0]
    if preset == "best_vae_conv":
        row = kept("benchmark/families").set_index("name").loc["vae_best_conv"]
        stated = [
            *(f"{row[f'val/{key}']:.{num}f}" for key, num in (("score_uncapped", 2), ("ssim", 3), ("mse", 4))),
            f"{row['parameters']:,}",
        ]
    else:
        name, key, decimals = HEADERS[preset]
        rows = kept(name)
        rows = rows[rows["experiment"] == preset] if name.startswith("likelihood") else rows
        stated = [f"{rows[key].mean():.{decimals}f}"]
    assert all(number in header for number in stated)
