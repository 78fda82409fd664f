"""The report of a sweep: nothing is left out, val chooses, and the page needs nothing but itself."""

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from helpers import composed, environment, execute, metrics_of_a_run
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from PIL import Image
from scipy.stats import spearmanr

from cvae_lightning.reports.content import _small
from cvae_lightning.reports.markdown import markdown
from cvae_lightning.reports.plots import heat_maps, score_against_epochs
from cvae_lightning.reports.statistics import beside_the_paper, over_seeds, rank_correlation, ranked
from cvae_lightning.reports.structure import Cell, Report, Section, Table
from cvae_lightning.reports.sweep_frame import sweep_frame
from cvae_lightning.reports.writing import write_report
from cvae_lightning.runs.metrics_file import write_metrics
from cvae_lightning.runs.paper import TABLE_2, TABLE_3
from cvae_lightning.runs.sweep import RECORD, Sweep

pytestmark = pytest.mark.rendered

VAL = "val/score_uncapped"


def numbers(score: float) -> dict[str, float | None]:
    return {
        "elbo": -470.0 - score,
        "log_likelihood": -460.0,
        "kl": 5.0,
        "loss": 470.0 + score,
        "ssim": 0.5 + score / 100,
        "mse": 0.03,
        "fid_pixel": 9.0,
        "score": score,
        "score_uncapped": score,
    }


def metrics_of(config: Any, val: float, test: float, **environment: Any) -> Any:
    return metrics_of_a_run(
        model=config.model._target_.rpartition(".")[2].lower(),
        **{key: config[key] for key in ("epochs", "latent_dim", "lr", "batch_size", "beta", "seed")},
        dataset={"name": config.data.name, "sha256": f"{config.data.name}-digest"},
        val=numbers(val),
        test=numbers(test),
        environment={"commit": "c0ffee1234", **environment},
    )


class FakeSweep:
    """The directories of a multirun, with made-up numbers."""

    def __init__(self, path: Path, jobs: list[list[str]] | None) -> None:
        self.path, self.jobs = path, jobs or []
        path.mkdir(parents=True)
        record = {"command": ["lr=0.001,0.002", "name=<script>alert(1)</script>"], "jobs": jobs, "composed_from": ""}
        (path / RECORD).write_text(json.dumps(record))

    def begin(self, name: int | str, overrides: list[str] | None = None) -> Any:
        given = self.jobs[int(name)] if overrides is None else overrides
        folder = self.path / str(name) / ".hydra"
        folder.mkdir(parents=True)
        config = composed(*given)
        OmegaConf.save(config, folder / "config.yaml")
        (folder / "overrides.yaml").write_text(yaml.safe_dump(given))
        return config

    def complete(self, name: int | str, val: float, test: float, overrides: list[str] | None = None, **kw: Any) -> None:
        metrics = metrics_of(self.begin(name, overrides), val, test, **kw)
        write_metrics(self.path / str(name) / "metrics.json", metrics, weights_sha256="")
        figure = Figure(figsize=(1, 1), dpi=30)
        (self.path / str(name) / "figures").mkdir()
        figure.savefig(self.path / str(name) / "figures" / "samples.png")

    def fail(self, name: int, sentence: str) -> None:
        self.begin(name)
        (self.path / str(name) / "error.txt").write_text(sentence + "\n")

    def frame(self) -> pd.DataFrame:
        return sweep_frame(Sweep(self.path))

    def report(self) -> str:
        return write_report(Sweep(self.path))

    def text(self, name: str) -> str:
        return (self.path / name).read_text()


MakeSweep = Callable[..., FakeSweep]


@pytest.fixture
def make(tmp_path: Path) -> MakeSweep:
    return lambda *jobs: FakeSweep(tmp_path / "multirun" / "sweep", [list(job) for job in jobs] or None)


@pytest.fixture
def grid(make: MakeSweep) -> FakeSweep:
    """Two settings with three seeds each, all complete; by the test metric the other setting would be better."""
    sweep = make(*([f"lr={lr}", f"seed={seed}"] for lr in (0.001, 0.002) for seed in range(3)))
    for number in range(6):
        val = (20.0 if number < 3 else 10.0) + number**2 / 10
        sweep.complete(number, val=val, test=40 - val)
    return sweep


@pytest.fixture
def plotted(tmp_path: Path) -> FakeSweep:
    """Eight runs over epochs, latent_dim and lr, of which the longer ones with the lower lr are missing."""
    settings = [(epochs, size, lr) for epochs in (10, 30) for size in (15, 20) for lr in (0.001, 0.002)]
    jobs = [[f"epochs={epochs}", f"latent_dim={size}", f"lr={lr}"] for epochs, size, lr in settings]
    sweep = FakeSweep(tmp_path / "plotted", jobs)
    for number, (epochs, _, lr) in enumerate(settings):
        if (epochs, lr) != (30, 0.001):
            sweep.complete(number, val=number, test=number)
    return sweep


def test_every_run_of_the_sweep_has_a_row_whatever_its_status(make: MakeSweep) -> None:
    sweep = make(*([f"lr={lr}", "data=digits"] for lr in (0.001, 0.002, 0.003, 0.004)))
    sweep.complete(0, val=20, test=21)
    sweep.fail(1, "Expected a finite loss, got nan.\nLower lr.")
    sweep.begin(2)
    text = sweep.report()
    rows = list(csv.DictReader(sweep.text("sweep.csv").splitlines(keepends=True)))
    assert [row["run"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["status"] for row in rows] == ["complete", "failed", "interrupted", "missing"]
    assert [row["lr"] for row in rows] == ["0.001", "0.002", "0.003", "0.004"]
    assert {row["dataset"] for row in rows} == {"digits"}
    assert [row["name"] for row in rows] == ["lr=0.001", "lr=0.002", "lr=0.003", "lr=0.004"]
    assert rows[1]["error"] == "Expected a finite loss, got nan.\nLower lr."
    assert rows[3]["overrides"] == "lr=0.004 data=digits"
    assert [float(rows[0][key]) for key in ("val/score", "test/score", "fit_seconds")] == [20, 21, 12.5]
    assert {rows[number]["val/score"] for number in (1, 2, 3)} == {""}
    assert "4 runs: 1 complete, 1 failed, 1 interrupted, 1 missing." in text
    for page in ("report.html", "report.md"):
        assert "Expected a finite loss, got nan." in sweep.text(page)


def test_a_missing_run_of_an_experiment_has_its_settings(make: MakeSweep) -> None:
    experiments = ["table2/vae", "table3/epochs15_latents30_lr0.005", "gone"]
    frame = make(*([f"experiment={name}", "seed=1"] for name in experiments)).frame()
    rows = frame[["model", "epochs", "latent_dim", "lr", "seed"]].to_numpy().tolist()
    assert rows[:2] == [["vae", 50, 20, 0.002, 1], ["cvae", 15, 30, 0.005, 1]]
    assert rows[2][-1] == 1


def test_a_column_for_each_key_that_varies(make: MakeSweep) -> None:
    sweep = make(["likelihood.variance=0.1", "network=mlp"], ["likelihood.variance=0.2", "network=conv"])
    sweep.complete(0, 1, 1)
    frame = sweep.frame()
    assert list(frame["likelihood.variance"]) == [0.1, 0.2]
    assert list(frame["network"]) == ["mlp", "conv"]
    assert list(frame["epochs"].dropna()) == [10]


def test_mean_and_standard_deviation_over_seeds(grid: FakeSweep) -> None:
    families = over_seeds(grid.frame(), VAL)
    assert list(families["n"]) == [3, 3]
    for place, numbers in enumerate(([0, 1, 2], [3, 4, 5])):
        scores = [json.loads(grid.text(f"{number}/metrics.json"))["test"]["score"] for number in numbers]
        values = families.iloc[place]
        np.testing.assert_allclose(values["test/score"], np.mean(scores))
        np.testing.assert_allclose(values["test/score/sd"], np.std(scores, ddof=1))
        assert values["run"] == ", ".join(map(str, numbers))
    assert "20.17 ± 0.21" in grid.report()
    assert "20.17 ± 0.21" in grid.text("report.html")


def test_runs_that_differ_in_more_than_the_seed_are_different_families(make: MakeSweep) -> None:
    sweep = make(["seed=0", "beta=1.0"], ["seed=1", "beta=1.0"], ["seed=0", "beta=2.0"])
    for number in range(3):
        sweep.complete(number, number, number)
    assert list(sweep.frame()["family"]) == [0, 0, 1]


def test_the_same_run_twice_is_one_seed(make: MakeSweep) -> None:
    sweep = make(["seed=0"], ["seed=0"], ["seed=1"])
    for number, score in enumerate((10.0, 10.0, 12.0)):
        sweep.complete(number, score, score)
    (row,) = over_seeds(sweep.frame(), VAL).itertuples()
    assert row.n == 2
    assert over_seeds(sweep.frame(), VAL)[VAL].iloc[0] == pytest.approx(11.0)


def test_val_chooses_and_never_test(grid: FakeSweep) -> None:
    frame = grid.frame()
    assert ranked(frame, VAL)["run"].iloc[0] == str(frame[VAL].to_numpy().argmax()) == "2"
    assert frame["test/score"].to_numpy().argmax() != 2
    assert list(over_seeds(frame, VAL)["lr"]) == [0.001, 0.002]
    grid.report()
    best, worst = re.findall(r"\| (Best: run \d) .*\| (Worst: run \d) ", grid.text("report.md"))[0]
    assert (best, worst) == ("Best: run 2", "Worst: run 3")


def test_a_lower_error_is_better(make: MakeSweep) -> None:
    sweep = make(["lr=0.001", "objective=val/loss"], ["lr=0.002", "objective=val/loss"])
    sweep.complete(0, val=5, test=0)
    sweep.complete(1, val=3, test=0)
    assert ranked(sweep.frame(), "val/loss")["run"].iloc[0] == "1"
    assert "Best by val loss" in sweep.report()


def test_our_scores_are_compared_with_those_of_the_paper(make: MakeSweep) -> None:
    """Difference, Spearman's rank correlation and mean absolute difference, for the rows that the paper has."""
    chosen = list(TABLE_3.items())[:6]
    jobs = [[f"epochs={epochs}", f"latent_dim={size}", f"lr={lr}"] for (epochs, size, lr), _ in chosen]
    sweep = make(*jobs, ["epochs=11"])
    ours = [16.0, 15.5, 13.0, 17.0, 18.0, 15.0, 1.0]
    for number, score in enumerate(ours):
        sweep.complete(number, val=score + 1, test=score)
    frame = sweep.frame()
    theirs = np.array([score for _, score in chosen])
    np.testing.assert_allclose(frame["difference"][:6], np.array(ours[:6]) - theirs)
    assert pd.isna(frame["paper_score"][6])
    beside = beside_the_paper(over_seeds(frame, VAL))
    assert len(beside) == 6
    expected = spearmanr(ours[:6], theirs).statistic
    np.testing.assert_allclose(rank_correlation(beside["test/score"], beside["paper_score"]), expected)
    away = np.abs(np.array(ours[:6]) - theirs).mean()
    assert f"6 rows beside the paper's: rank correlation {expected:.3f}, mean absolute difference {away:.2f}" in (
        sweep.report()
    )


def test_rank_correlation_with_ties_is_scipys() -> None:
    a, b = pd.Series([1.0, 2.0, 2.0, 5.0, 0.0]), pd.Series([3.0, 1.0, 4.0, 4.0, 0.0])
    np.testing.assert_allclose(rank_correlation(a, b), spearmanr(a, b).statistic)
    assert np.isnan(rank_correlation(a[:2], b[:2]))


def test_table_2_is_compared_with_its_experiments_only(make: MakeSweep) -> None:
    sweep = make(["experiment=table2/vae"], ["experiment=table2/cvae"], ["model=vae"])
    for number in range(3):
        sweep.complete(number, val=9, test=9)
    scores = sweep.frame()["paper_score"]
    assert list(scores[:2]) == [TABLE_2["vae"]["score"], TABLE_2["cvae"]["score"]]
    assert pd.isna(scores[2])


def test_incomparable_runs_are_announced(make: MakeSweep, grid: FakeSweep) -> None:
    assert "Different" not in grid.report()
    sweep = FakeSweep(grid.path.with_name("mixed"), [["data=mnist"], ["data=digits"], ["model=vae"]])
    sweep.complete(0, 1, 1)
    sweep.complete(1, 2, 2, torch="2.11")
    sweep.complete(2, 3, 3, threads=4)
    text = sweep.report()
    assert "Different data sets: mnist (2 of the runs), digits (1 of the runs)." in text
    for words in (
        "files of the data set",
        "versions of torch: 2.10 (2 of the runs), 2.11",
        "numbers of threads",
        "models",
    ):
        assert f"Different {words}" in text
        assert f"Different {words}" in sweep.text("report.html")
        assert f"Different {words}" in sweep.text("report.md")


def test_the_page_is_one_file_that_takes_names_as_text(make: MakeSweep) -> None:
    name = "<script>alert('&')</script>"
    sweep = make()
    sweep.complete(name.replace("/", "\u2215"), 1, 2, ["lr=0.001"])
    sweep.complete("b", 2, 1, ["lr=0.002"])
    sweep.report()
    page = sweep.text("report.html")
    assert not re.findall(r"(?:src|href|action|data)=[\"']?(?:https?:)?//|@import|url\(", page)
    assert page.count("<script") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page, "the command"
    assert "&lt;script&gt;alert(&#x27;&amp;&#x27;)" in page, "the run"
    assert "data:image/png;base64," in page
    assert not re.findall(r"\$\w+", re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL))


def test_a_report_has_the_same_bytes_each_time(plotted: FakeSweep) -> None:
    contents = []
    for _ in range(2):
        plotted.report()
        plots = sorted((plotted.path / "plots").iterdir())
        assert all(path.stat().st_size < 100_000 for path in plots)
        pages = [plotted.path / name for name in ("sweep.csv", "report.md", "report.html")]
        contents.append({path.name: path.read_bytes() for path in (*pages, *plots)})
    assert contents[0] == contents[1]
    assert contents[0].keys() == {
        *("sweep.csv", "report.md", "report.html", "epochs.png", "heat_maps.png", "against_paper.png"),
        *("samples_best.png", "samples_worst.png"),
    }
    assert not list(plotted.path.rglob("*.part"))


def test_the_pictures_of_the_markdown_lie_beside_it(grid: FakeSweep) -> None:
    grid.report()
    links = re.findall(r"!\[[^]]*\]\(([^)]*)\)", grid.text("report.md"))
    assert len(links) == 2
    assert all((grid.path / link).is_file() for link in links)


def test_plots_are_there_where_there_is_something_to_see(plotted: FakeSweep, grid: FakeSweep) -> None:
    families = over_seeds(grid.frame(), VAL)
    assert score_against_epochs(families) is heat_maps(families, VAL) is None
    plotted.report()
    assert plotted.text("report.html").count("<svg") == 3


def test_the_title_of_a_heat_map_agrees_in_number(plotted: FakeSweep) -> None:
    frame = plotted.frame()
    figure = heat_maps(over_seeds(frame.assign(epochs=frame["epochs"].rank(method="dense")), VAL), VAL)
    assert figure
    titles = [place.get_title("left") or place.get_title() for place in figure.axes]
    assert titles[:2] == ["1 epoch", "2 epochs"]


def test_heat_maps_share_their_axes(plotted: FakeSweep) -> None:
    """A number stands at its lr and latent_dim in each panel, though not all were run with these epochs."""
    figure = heat_maps(over_seeds(plotted.frame(), VAL), VAL)
    assert figure
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["0.001", "0.002"]
    assert [label.get_text() for label in figure.axes[1].get_xticklabels()] == ["15", "20"]
    cells = [{text.get_position(): text.get_text() for text in panel.texts} for panel in figure.axes]
    assert cells == [{(0, 0): "0.0", (0, 1): "1.0", (1, 0): "2.0", (1, 1): "3.0"}, {(0, 1): "5.0", (1, 1): "7.0"}]


def test_a_line_joins_the_runs_of_one_setting(plotted: FakeSweep) -> None:
    figure = score_against_epochs(over_seeds(plotted.frame(), VAL))
    assert figure
    ends = [[list(line[0].get_ydata()) for line in panel.containers] for panel in figure.axes]
    assert ends == [[[0.0], [2.0]], [[1.0, 5.0], [3.0, 7.0]]]


@pytest.mark.parametrize("jobs", [[["lr=0.001"], ["lr=0.002"]], None])
def test_a_sweep_without_a_complete_run_has_a_report_too(tmp_path: Path, jobs: list[list[str]] | None) -> None:
    sweep = FakeSweep(tmp_path / "sweep", jobs)
    if jobs:
        sweep.fail(0, "Expected this & that.")
    text = sweep.report()
    assert text.strip().startswith("2 runs: 1 failed, 1 missing." if jobs else "0 runs")
    if jobs:
        assert "Expected this &amp; that." in sweep.text("report.html")


def test_a_search_has_its_rows_by_name(make: MakeSweep) -> None:
    """Its jobs are not known beforehand, so none is missing."""
    sweep = make()
    for name, lr in (("lr=0.003", 0.003), ("lr=0.001", 0.001)):
        sweep.complete(name, lr, lr, [f"lr={lr}"])
    frame = sweep.frame()
    assert list(frame["run"]) == ["lr=0.001", "lr=0.003"]
    assert list(frame["name"]) == ["lr=0.001", "lr=0.003"]


def test_a_metric_that_a_model_does_not_have_is_empty(make: MakeSweep) -> None:
    sweep = make(["model=vae", "lr=0.001"], ["model=vae", "lr=0.002"])
    for number in range(2):
        sweep.complete(number, number, number)
        file = sweep.path / str(number) / "metrics.json"
        metrics = json.loads(file.read_text())
        metrics["val"]["fid_pixel"] = metrics["test"]["fid_pixel"] = None
        file.write_text(json.dumps(metrics))
    assert "fid_pixel" not in sweep.report()
    assert "fid_pixel" not in sweep.text("report.html")
    assert "nan" not in sweep.text("report.md")


def test_markdown_shows_text_as_it_is() -> None:
    table = Table(["a|b"], [False], [[Cell("x|y\n<z>")]])
    report = Report("t", "c", {"complete": 1}, {}, ["*"], [Section("s", table=table)])
    assert r"| a\|b |" in markdown(report)
    assert r"| x\|y \<z\> |" in markdown(report)
    assert r"> **Warning.** \*" in markdown(report)


def test_the_command_writes_the_report(grid: FakeSweep) -> None:
    answer = execute(f"sweep={grid.path.name}", cwd=grid.path.parent, module="cvae_lightning.report")
    assert answer.returncode == 0, answer.stderr
    assert "6 runs: 6 complete." in answer.stdout
    assert answer.stdout.endswith("See sweep/report.html\n")
    assert sorted(path.name for path in grid.path.parent.iterdir()) == ["sweep"]
    assert (grid.path / "report.html").is_file()


def test_mistakes_are_reported_in_a_sentence(tmp_path: Path) -> None:
    answer = execute("sweep=nowhere", cwd=tmp_path, module="cvae_lightning.report")
    assert answer.returncode == 1
    assert answer.stderr == (
        "Expected a sweep directory, which holds sweep.json (sweep), got 'nowhere'. Name a folder that -m has made.\n"
    )
    answer = execute(cwd=tmp_path, module="cvae_lightning.report")
    assert answer.returncode == 1
    assert answer.stderr == "This command needs sweep=<sweep directory>. --help explains it.\n"


def test_help_is_there_and_waits_for_no_library(tmp_path: Path) -> None:
    answer = execute("--help", cwd=tmp_path, module="cvae_lightning.report")
    assert answer.returncode == 0
    assert "usage: python -m cvae_lightning.report sweep=<sweep directory>" in answer.stdout
    for module, heavy in (("report", ["torch", "pandas", "matplotlib"]), ("reports.writing", ["torch", "hydra"])):
        probe = f"import sys, cvae_lightning.{module}; sys.exit(' '.join({heavy} & sys.modules.keys()))"
        probe = probe.replace(str(heavy), str(set(heavy)))
        done = subprocess.run(
            [sys.executable, "-c", probe], env=environment(), capture_output=True, text=True, check=False
        )
        assert done.stderr.strip() == ""


def test_a_sweep_without_a_score_is_reported_by_its_objective(make: MakeSweep) -> None:
    jobs = [[f"epochs={epochs}", f"lr={lr}", "objective=val/loss"] for epochs in (1, 2) for lr in (0.001, 0.002)]
    sweep = make(*jobs)
    for number in range(4):
        sweep.complete(number, val=number, test=number)
        file = sweep.path / str(number) / "metrics.json"
        metrics = json.loads(file.read_text())
        for split in ("val", "test"):
            metrics[split] |= dict.fromkeys(("score", "score_uncapped", "fid_pixel"))
        file.write_text(json.dumps(metrics))
    sweep.report()
    text = sweep.text("report.md")
    assert "## val loss (nats) against epochs" in text
    assert (sweep.path / "plots" / "epochs.png").is_file()
    assert "Score" not in text
    assert "nan" not in text


@pytest.mark.parametrize(
    ("shape", "condition", "words"),
    [
        ("[3,32,32]", "{species: [cat, dog]}", "mnist, 32x32 colour pixels, 2 classes, sha256"),
        ("[1,20,28]", "{label: 200}", "mnist, 20x28 grey pixels, 200 classes, sha256"),
        (
            "[2,8,8]",
            "{digit: {classes: 10}, angle: {mean: 0, std: 1, low: 0, high: 9}}",
            "8x8 pixels of 2 channels, digit, angle,",
        ),
        ("[1,28,28]", "{tags: {flags: [a, b]}}", "28x28 grey pixels, tags, sha256"),
    ],
)
def test_the_report_says_what_the_images_are(make: MakeSweep, shape: str, condition: str, words: str) -> None:
    sweep = make([f"data.image_shape={shape}", "lr=0.001"])
    config = sweep.begin(0)
    config.data.condition = yaml.safe_load(condition)
    OmegaConf.save(config, sweep.path / "0" / ".hydra" / "config.yaml")
    write_metrics(sweep.path / "0" / "metrics.json", metrics_of(config, 1, 1), weights_sha256="")
    sweep.report()
    assert words in sweep.text("report.md")


@pytest.mark.parametrize(("colour", "mode"), [((200, 40, 40), 3), ((26, 26, 46), 1)])
def test_samples_in_colour_stay_in_colour_and_large_pictures_are_reduced(
    tmp_path: Path, colour: tuple[int, int, int], mode: int
) -> None:
    picture = Image.new("RGB", (4000, 2000), "white")
    picture.paste(colour, (0, 0, 2000, 2000))
    picture.save(tmp_path / "samples.png")
    with Image.open(io.BytesIO(_small(tmp_path / "samples.png"))) as image:
        assert image.size == (1600, 800)
        red, green, blue = image.convert("RGB").getpixel((10, 10))  # type: ignore[misc]
    assert (red - blue > 100) is (mode == 3)
    assert (red == green == blue) is (mode == 1)
