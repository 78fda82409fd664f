"""The commands as a person types them: each in a process of its own, in an empty folder."""

import importlib.util
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from helpers import QUICK, ROOT, command, environment, execute, lines_until
from prefork import Prefork

from cvae_lightning.cli.commands import COMMANDS
from cvae_lightning.cli.main import command_and_words
from cvae_lightning.runs.run import Run

MODULES = ["cvae_lightning", *(f"cvae_lightning.{verb}" for verb in ("evaluate", "report", "sample", "export"))]


@pytest.fixture(scope="module")
def questions() -> Iterator[Prefork]:
    """Processes that have imported no more than every command does before it reads its words."""
    prefork = Prefork("cvae_lightning.cli.main")
    yield prefork
    prefork.close()


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("flag", ["--help", "--cfg=job"])
def test_questions_are_answered_at_once(tmp_path: Path, questions: Prefork, module: str, flag: str) -> None:
    """Nothing that computes or draws is imported for them, which would take longer than all the rest."""
    answer = questions.run(module, flag.split("="), tmp_path, environment())
    assert answer.returncode == 0, answer.stderr
    imported = {name.partition(".")[0] for name in answer.modules}
    assert "hydra" in imported
    assert not imported & {"torch", "pytorch_lightning", "pandas", "matplotlib", "sklearn", "scipy", "PIL"}
    assert not list(tmp_path.iterdir())
    if flag == "--help":
        assert f"usage: python -m {module}" in answer.stdout
        assert len(re.findall(rf"^  python -m {module}", answer.stdout, re.MULTILINE)) >= 2


@pytest.mark.parametrize(("module", "words"), [("cvae_lightning", ["lr=0.1"]), ("cvae_lightning.sample", [])])
def test_the_version_is_that_of_this_package(tmp_path: Path, questions: Prefork, module: str, words: list[str]) -> None:
    answer = questions.run(module, [*words, "--version"], tmp_path, environment())
    assert (answer.returncode, answer.stderr) == (0, "")
    own, others = answer.stdout.splitlines()
    assert own == f"cvae_lightning {version('cvae_lightning')}"
    assert others.startswith(f"Python {platform.python_version()} on ")
    assert f"torch {version('torch')}, torchvision {version('torchvision')}" in others
    assert "torch" not in answer.modules


def test_the_help_has_seven_examples_that_compose(tmp_path: Path) -> None:
    answer = execute("--help", cwd=tmp_path).stdout
    examples = re.findall(r"^  python -m cvae_lightning ?(.*?)(?:   |$)", answer, re.MULTILINE)
    assert len(examples) == 7
    for example in examples:
        overrides = [word for word in example.split() if word != "-m" and "," not in word]
        assert execute(*overrides, "--cfg", "job", cwd=tmp_path).returncode == 0


MISTAKES = {  # the words that a person needs: the value or key, what may stand there, and what to do
    "model=gan": ("'gan'", "(model)", "cvae, m1m2, m2, vae"),
    "data=cifar": ("'cifar'", "(data)", "cifar10, cifar100, digits, emnist"),
    "latentdim=3": ("'latentdim'", "latent_dim?"),
    "network.hiden=[4]": ("'network.hiden'", "network.hidden?"),
    "qqqqqq=3": ("'qqqqqq'", "--help", "--cfg job"),
    "lr=0.1=2": ("'lr=0.1=2'", "key=value", "quotes"),
    "resume=nowhere": ("'nowhere'", "(resume)", "run directory", ".hydra/config.yaml"),
    "lr=-1": ("-1", "(lr)", "above 0", "0.001 to 0.02"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_in_one_sentence_and_leaves_nothing(tmp_path: Path, mistake: str) -> None:
    answer = execute(mistake, cwd=tmp_path)
    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    assert not [words for words in MISTAKES[mistake] if words not in line], line
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_key_that_must_be_given_is_asked_for(tmp_path: Path) -> None:
    answer = execute(cwd=tmp_path, module="cvae_lightning.evaluate")
    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    assert "run=" in line
    assert "--help" in line


def test_the_traceback_is_there_for_whom_it_helps(tmp_path: Path) -> None:
    env = {**environment(), "HYDRA_FULL_ERROR": "1"}
    answer = subprocess.run(command("model=gan"), cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "Traceback" in answer.stderr


def install(wheel: Path, site: Path) -> None:
    """As pip does it, or uv, whose environments have no pip; without network."""
    pip = [sys.executable, "-m", "pip", "install", "--no-index"]
    uv = ["uv", "pip", "install", "--offline", "--python", sys.executable]
    program = pip if importlib.util.find_spec("pip") else uv
    subprocess.run([*program, "--no-deps", "--target", str(site), str(wheel)], check=True, capture_output=True)


@pytest.mark.slow
def test_the_script_runs_from_a_wheel_in_an_empty_folder(tmp_path: Path) -> None:
    """Without network and files it trains on digits; evaluate then finds the same numbers."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site, folder = tmp_path / "site", tmp_path / "empty"
    folder.mkdir()
    install(wheel, site)
    assert (site / "cvae_lightning" / "py.typed").is_file()
    assert (site / "cvae_lightning" / "conf" / "config.yaml").is_file()

    def execute(*words: str) -> subprocess.CompletedProcess[str]:
        script = site / "bin" / "cvae-lightning"
        return subprocess.run(
            [script, *words], cwd=folder, env=environment(site), capture_output=True, text=True, check=False
        )

    overview = execute()
    assert overview.returncode == 0
    assert re.findall(r"^  (\w+) ", overview.stdout, re.MULTILINE) == list(COMMANDS)
    run = execute("train", "epochs=2", *QUICK[2:])
    assert run.returncode == 0, run.stderr
    assert f"{folder}/data/MNIST/raw" in run.stdout
    assert "Training on the embedded digits instead" in run.stdout
    assert len(re.findall(r"epoch \d/2  train loss [\d.]+  val ELBO -[\d.]+ nats  [\d,]+ images/s", run.stdout)) == 2
    assert "cvae (mlp) on digits: epochs 2, latent_dim 20, lr 0.005" in run.stdout
    assert "paper" not in run.stdout.partition("Next:")[0].partition("cvae (mlp)")[2], "it has no row for digits"
    evaluate = re.search(r"cvae-lightning evaluate (run=\S+)", run.stdout)
    assert evaluate
    again = execute("evaluate", evaluate[1])
    assert "All numbers that metrics.json has are the same, to the last digit." in again.stdout, again.stderr
    drawn = execute("sample", "run=pretrained:best", "num=1")
    assert (drawn.returncode, (folder / "outputs/pretrained/best/samples/samples.png").is_file()) == (0, True), (
        drawn.stderr
    )


MISNAMED = {
    (): (0, "sample"),
    ("--help",): (0, "sample"),
    ("smple", "run=x"): (1, "There is no command 'smple'. Did you mean sample?"),
    ("lr=0.1",): (1, "cvae-lightning train lr=0.1"),
}


@pytest.mark.parametrize("words", MISNAMED, ids=" ".join)
def test_without_a_command_the_script_lists_them(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    status, part = MISNAMED[words]
    with pytest.raises(SystemExit) as end:
        command_and_words(list(words))
    out, err = capsys.readouterr()
    assert end.value.code == status
    assert part in (err if status else out)
    assert all(f"  {name} " in out + err for name in COMMANDS)


AT_THE_END = """
import atexit, sys, threading, time
from cvae_lightning.cli.invocation import Invocation
from cvae_lightning.cli.main import main

def run(invocation):
    status = answer(invocation)
    answered.set()
    return status

def later():
    answered.wait()
    time.sleep(0.2)
    print("a thread")

answer, answered = Invocation.run, threading.Event()
Invocation.run = run
atexit.register(print, "registered")
threading.Thread(target=later).start()
main(sys.argv.pop(1))
"""


@pytest.mark.parametrize(("words", "status"), [(["--help"], 0), (["run=nowhere"], 1)])
def test_a_process_ends_as_pythons_do(words: list[str], status: int, tmp_path: Path) -> None:
    """Though it does not take its memory apart: threads are waited for, then what is registered is called."""
    script = [sys.executable, "-c", AT_THE_END, "sample", *words]
    answer = subprocess.run(script, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert answer.returncode == status, answer.stderr
    assert answer.stdout.endswith("a thread\nregistered\n")
    assert ("usage:" in answer.stdout) == (status == 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_output_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        answer = subprocess.run(command("--help"), cwd=tmp_path, env=environment(), stdout=full, stderr=subprocess.PIPE)
    assert (answer.returncode, answer.stderr) == (1, b"The output cannot be written: No space left on device.\n")


SIGNALS = [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]


@pytest.mark.parametrize(("signum", "status"), SIGNALS)
def test_a_signal_leaves_a_run_that_can_be_resumed(tmp_path: Path, signum: signal.Signals, status: int) -> None:
    arguments = command(*QUICK, "epochs=60", "hydra.run.dir=run")
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, cwd=tmp_path, env=environment(), stdout=pipe, stderr=pipe, text=True) as process:
        assert "epoch 3/60" in list(lines_until(process, "epoch 3/60"))[-1]
        process.send_signal(signum)
        out, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert f"Interrupted by {signum.name}. Continue with: python -m cvae_lightning resume=run" in out
    assert err.strip() == f"Interrupted by {signum.name}."
    run = Run(tmp_path / "run")
    assert (run.path / "checkpoints" / "last.ckpt").exists()
    assert not run.complete
    if signum == signal.SIGTERM:
        answer = execute("resume=run", cwd=tmp_path)
        assert answer.returncode == 0, answer.stderr
        assert run.complete
        log = (run.path / "train.log").read_text()
        assert {f"epoch {epoch}/60" for epoch in range(1, 61)} <= set(re.findall(r"epoch \d+/60", log))
        assert "run is complete: there is nothing to continue." in execute("resume=run", cwd=tmp_path).stdout


def test_the_same_command_in_the_same_directory_finds_its_run(tmp_path: Path) -> None:
    arguments = [*QUICK, "epochs=1", "hydra.run.dir=run"]
    assert execute(*arguments, cwd=tmp_path).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.name != "train.log"}
    answer = execute(*arguments, cwd=tmp_path)
    assert answer.returncode == 0
    assert answer.stdout == "run is complete: there is nothing to continue.\n"
    answer = execute(*arguments, "lr=0.5", cwd=tmp_path)
    assert answer.returncode == 1
    assert answer.stderr == (
        "'run' (hydra.run.dir) already holds a run with lr=0.005, not lr=0.5. Choose another directory.\n"
    )
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_mistake_in_a_sweep_leaves_nothing(tmp_path: Path) -> None:
    answer = execute("-m", "latentdim=3,4", "hydra.sweep.dir=sweep", cwd=tmp_path)
    assert answer.returncode == 1
    assert answer.stderr == "Unknown key 'latentdim'. Did you mean latent_dim?\n"
    assert not list(tmp_path.iterdir())
