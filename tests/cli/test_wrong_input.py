"""Wrong values for every key of every command: each is refused in one sentence that names the key, before any work."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
from helpers import composed, metrics_of_a_run
from omegaconf import DictConfig

from cvae_lightning.cli.checks import check_added_keys, check_parts, check_words
from cvae_lightning.cli.commands import task_of
from cvae_lightning.cli.mistakes import is_mistake, sentence
from cvae_lightning.cli.rewriting import rewritten
from cvae_lightning.core.build import build
from cvae_lightning.data.datamodule import DataModule
from cvae_lightning.runs.run import Run
from cvae_lightning.training.train import train

NO_COUNT = "0 -1 1.5 null nan inf abc [1] {a:1} true"
NO_WEIGHT = "-1 null nan inf abc [1] {a:1} true"
NO_SEED = "-1 4294967296 1.5 null abc [1] true"
NO_CHOICE = "null 3 nonsense [default] true"

TRAINING = {
    "model": f"{NO_CHOICE} [cvae,vae] '' cvae,vae",
    "network": f"{NO_CHOICE} [mlp,conv]",
    "data": f"{NO_CHOICE} [digits,mnist]",
    **dict.fromkeys(("likelihood", "prior", "bound", "optimizer", "schedule", "sampler"), NO_CHOICE),
    **dict.fromkeys(("trainer", "callbacks", "evaluators", "averaging", "experiment"), NO_CHOICE),
    "logger": f"{NO_CHOICE} [] [csv,nonsense] csv,tensorboard",
    "+sweep": "null 3 nonsense",
    "epochs": NO_COUNT,
    "latent_dim": NO_COUNT,
    "batch_size": NO_COUNT,
    "lr": f"0 {NO_WEIGHT} " + "'${nonsense}'",
    "beta": f"{NO_WEIGHT} ''",
    "seed": NO_SEED,
    "accelerator": "null 3 quantum [cpu] tpu ''",
    "data=mnist data_dir": "null '' s3://bucket/x '${nonsense}'",
    "backward_precision": "null low 3 [medium]",
    "objective": "null 3 test/score val/nonsense val/ [val/score]",
    "network.hidden": "null 3 [0] [-1] [1.5] [a] [true] [[3]] [null] {a:1} ''",
    "network.injection": "null 3 multiply [add]",
    "network.inject_into": "null encoder [sampler] [3]",
    "network._target_": "null 3 os.system",
    "network=conv network.channels": NO_COUNT,
    "network=conv network.hidden": "null 0 [3]",
    **dict.fromkeys((f"network={name} network.levels" for name in ("conv", "residual")), "-1 6 1.5 true [2] a"),
    "network=residual network.blocks": "-1 null 1.5 [1] true",
    "network.channels": "4",
    "likelihood.variance": f"0 {NO_WEIGHT}",
    "likelihood=gaussian_learned likelihood.initial_variance": "0 null [1]",
    "prior=learned prior.num_components": NO_COUNT,
    "prior=learned prior.initial_spread": "-1 null nan a",
    "prior=flow prior.num_couplings": NO_COUNT,
    "prior=flow prior.hidden": "null 3 [0] [-1] [1.5] [a] [true] {a:1} ''",
    "prior=flow latent_dim": "1",
    "bound.warmup_epochs": "-1 null a inf [1]",
    "bound.free_bits": "-1 null nan a",
    "bound=iwae bound.num_samples": "0 null 1.5 true",
    "bound=iwae bound.dreg": "3 null abc",
    "bound=iwae beta": "2",
    "optimizer=adamw optimizer.weight_decay": "-1 null a nan [1]",
    "schedule=one_cycle schedule.rising_fraction": "0 1 null a",
    "sampler=mixture sampler.num_components": "0 null 1.5",
    "sampler=mixture sampler.images_per_component": "0 null 1.5",
    "sampler=mixture sampler.temperature": "-1 null a nan",
    "sampler=mixture sampler.seed": "a",
    "averaging=ema callbacks.averaging.decay": "0 1 null a",
    "data.binarize": "3 yes [dynamic]",
    "data.max_shift": "-1 28 null a 1.5",
    "data.flip": "3 left [horizontal]",
    "data.balance": "3 null a [true]",
    "data.labelled": "0 null a 1.5 [10]",
    "model=m2 model.classification_weight": "-1 null a nan",
    "model=m2 model.labelled_batch_size": "0 null a",
    "model=m2 model.classifier_shift": "-1 28 null a",
    "model=m2 bound": "iwae",
    "model=m1m2 model.first_epochs": "-1 null a",
    "model=m1m2 model.network.first_latent_dim": "0 null a",
    "model=m1m2 model.network.hidden": "0 null [a]",
    "model.label_dropout": "-1 1 null a nan [1]",
    "data.name": "null 3 ''",
    "data.condition": "null 3 a [label] {label:0} {label:-1} {label:1.5} {label:a} {label:true} {label:[]}",
    "data.image_shape": "null 3 [28,28] [1,0,28] [1,28,28,1] [a,b,c] [1,-28,28] [1.5,28,28] ''",
    "data.fallback": "3 cifar [digits]",
    "data.module": "null 3 []",
    "data.module.source": "null 3 []",
    "data.module.source.split_seed": "null -1 a",
    "data.module.passes_per_epoch": "0 null 1.5",
    "data=mnist data.module.source.dataset": "null 3 ''",
    "callbacks.history": "null 3 []",
    "callbacks.checkpoint": "null",
    "callbacks.figures": "3 []",
    "callbacks.figures.seed": "null -1 a",
    "+callbacks.nonsense": "3",
    "evaluators.grader": "null 3",
    "evaluators.grader.samples_per_class": "0 null a",
    "evaluators.grader.seed": "null -1",
    "evaluators=full evaluators.inception.weights": "nowhere.pth null",
    "trainer.max_epochs": "3",
    "trainer.devices": "2",
    "trainer.num_sanity_val_steps": "a -5",
    "trainer.log_every_n_steps": "-1 0 a null",
    "+trainer.accumulate_grad_batches": "0",
    "+trainer.limit_train_batches": "-1",
    "+trainer.callbacks": "3",
    "+trainer.logger": "true",
    "+logger.nonsense": "3",
    "+logger.tensorboard.save_dir": "x",
    "logger.tensorboard.name": "3 /nowhere [a]",
    "logger.tensorboard": "3 []",
    "logger=csv logger.csv.name": "3 ../elsewhere",
    "logger=wandb logger.wandb.offline": "3 null",
    "logger=wandb logger.wandb.project": "3 null ''",
    "logger=wandb +logger.wandb.dir": "x",
    "logger=mlflow logger.mlflow.experiment_name": "3 null ''",
    "logger=mlflow logger.mlflow.tracking_uri": "3 [a]",
    "logger=mlflow +logger.mlflow.artifact_location": "x",
    "+model.nonsense": "3",
    **dict.fromkeys((f"model.{part}" for part in ("network", "optimizer", "schedule", "prior")), "null 3"),
    **dict.fromkeys(("nonsense", "+nonsense", "++nonsense", ""), "3"),
    **dict.fromkeys(
        (f"hydra.{part}" for part in ("sweeper", "launcher", "run", "sweep", "job", "callbacks")), "null 3"
    ),
    **dict.fromkeys(("hydra.nonsense", "hydra.job_logging", "hydra.output_subdir", "hydra.runtime.cwd"), "3"),
    "hydra.mode": "RUN MULTIRUN nonsense",
    "hydra.job.name": "null",
    "hydra.searchpath": "3",
    **dict.fromkeys(("hydra.run.dir", "hydra.sweep.dir"), "'' s3://bucket/x ch::x file:///x"),
    **dict.fromkeys(("hydra/launcher", "hydra/sweeper"), "null 3 nonsense [joblib,ray]"),
}
RUN = "'' nowhere null 3 [a] {a:1} s3://bucket/x '${nonsense}'"
DRAWING = {"run": RUN, "seed": NO_SEED, "format": "gif null 3 [png] {a:1}", "out": "'' s3://bucket/x", "nonsense": "3"}
NO_LABELS = "10 -1 1.5 abc [] [a] [[1]] {a:1} true [true] '' [null] 99999999999999999999"
IMAGES = {
    "split": "nonsense null 3 [val]",
    "index": "-1 99999 [] a 1.5 true {a:1} 99999999999999999999",
    "images": "[] '' nowhere.png 3 [nowhere.png] [[a]] {a:1} / [a,]",
    "labels": NO_LABELS,
    "invert": "3 null abc",
    "num": NO_COUNT,
}
COMMANDS = {
    "resume": {"resume": RUN, "lr": "3"},
    "sample": {
        **DRAWING,
        "num": NO_COUNT,
        "labels": NO_LABELS,
        "temperature": "-1 nan inf abc [1] true",
        "split": "val",
    },
    "traverse": {**DRAWING, "steps": f"1 {NO_COUNT}", "reach": f"0 {NO_WEIGHT}", "num": NO_COUNT, "labels": "10 []"},
    "reconstruct": {**DRAWING, **IMAGES},
    "interpolate": {
        **DRAWING,
        **IMAGES,
        "between": "nonsense null 3 [images]",
        "steps": f"1 {NO_COUNT}",
        "between=samples num=1 labels": "[1,2,3]",
    },
    "embed": {**DRAWING, "split": "nonsense null", "map": "nonsense null 3 [pca]", "projector": "3 null abc"},
    "inpaint": {
        **DRAWING,
        **IMAGES,
        "draws": NO_COUNT,
        "proposals": f"1 {NO_COUNT}",
        "mask": "nonsense null 3 [top] nowhere.png ''",
    },
    "score": {**DRAWING, **IMAGES, "num_samples": NO_COUNT},
    "export": {
        "run": RUN,
        "format": "nonsense null 3 [html] {a:1}",
        "out": "''",
        "to": "'' s3://bucket/x",
        "to=new dtype": "float64 null 16 [float16]",
        "to=new license": "'' 3 [mit] 'two words'",
        "out=old to": "new",
        "dtype": "float16",
        "license": "mit",
        "nonsense": "3",
    },
    "evaluate": {
        "run": RUN,
        "evaluators": NO_CHOICE,
        "evaluators.grader": "null 3",
        "evaluators.grader.samples_per_class": "0",
        "accelerator": "quantum 3 [cpu]",
        "nonsense": "3",
    },
    "report": {"directory": RUN, "nonsense": "3"},
    "judge": {
        "data": NO_CHOICE,
        "epochs": NO_COUNT,
        "seed": NO_SEED,
        "distortion": NO_WEIGHT,
        "mirrored": "3 null",
        "out": "'' null",
        "data.module.source": "null 3",
    },
}


def inputs(keys: dict[str, str]) -> list[str]:
    return [f"{key}={value}" for key, values in keys.items() for value in shlex.split(values)]


def refusal(name: str, task: Callable[[DictConfig], Any], words: list[str]) -> str:
    """The sentence with which a command refuses its words, as its `Invocation` does."""
    try:
        overrides = rewritten(words, name)
        check_words(overrides, name)
        config = composed(*overrides, config_name=name)
        check_added_keys(overrides, name)
        check_parts(config, name)
        task(config)
    except Exception as error:
        if not is_mistake(error):
            raise
        return sentence(error, name)
    pytest.fail("it was accepted")


def check_sentence(message: str, word: str, folder: Path) -> None:
    key = word.rpartition(" ")[2].partition("=")[0].lstrip("+")
    last = key.rpartition(".")[2]
    assert "\n" not in message
    assert last in message or "sweep directory" in message, "it names the key"
    assert not [path for path in folder.rglob("*") if path.is_file()], "nothing is left behind"


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # else the tests' own checks come before ours
    monkeypatch.delenv("CVAE_DATA_DIR", raising=False)
    return tmp_path


@pytest.mark.parametrize("word", inputs(TRAINING))
def test_a_training_refuses_it(word: str, empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def task(config: DictConfig) -> None:
        run = Run.begin(empty / "run", config)
        try:
            train(run)
        finally:
            run.discard_unless_begun()

    monkeypatch.setattr(DataModule, "prepare_data", lambda _: pytest.fail("it was accepted"))
    small = [] if word.startswith(("network", "model=", "=")) else ["network.hidden=[4]"]
    given = word.split(" ")
    keys = {part.partition("=")[0] for part in given}
    words = [part for part in (*small, "data=digits", "accelerator=cpu") if part.partition("=")[0] not in keys]
    check_sentence(refusal("config", task, [*words, *given]), word, empty)


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run of an untrained model, on which no command has to compute anything."""
    config = composed("data=digits", "network.hidden=[4]", "accelerator=cpu")
    run = Run.begin(tmp_path_factory.mktemp("runs") / "run", config)
    run.write_result(build(config.model).state_dict(), metrics_of_a_run(val={"score_uncapped": 1.0}))
    return run.path


@pytest.mark.parametrize(("name", "word"), [(name, word) for name, keys in COMMANDS.items() for word in inputs(keys)])
def test_a_command_refuses_it(name: str, word: str, empty: Path, complete: Path) -> None:
    task = task_of(name)
    words = word.split(" ")
    if name not in ("resume", "report", "judge") and not word.startswith("run="):
        words.append(f"run={complete}")
    if name == "judge" and not word.startswith("data="):
        words.append("data=digits")
    if name == "reconstruct" and word.startswith("images="):
        words.append("labels=1")
    check_sentence(refusal(name, task, words), word, empty)
