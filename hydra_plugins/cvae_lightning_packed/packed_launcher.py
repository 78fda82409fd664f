"""hydra/launcher=packed: runs that differ only in lr, beta and seed are trained as one stacked model.

Such a training leaves the checkpoints that the runs would have left one by one. Then each run goes through the ordinary
command, which finds that its training is at its end, and evaluates it.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, TypeAlias

from hydra.core.utils import JobReturn, configure_log, filter_overrides, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from cvae_lightning.cli.mistakes import is_mistake, sentence
from cvae_lightning.core.errors import check_integer
from cvae_lightning.core.imports import quick_imports

log = logging.getLogger(__name__)

Pack: TypeAlias = dict[int, DictConfig]
"""The configurations of runs that are trained as one, by the numbers of the runs."""


class PackedLauncher(Launcher):
    """Trains up to `max_runs` runs at once; shorter ones come first, so that longer ones can go on from them."""

    def __init__(self, max_runs: int) -> None:
        self.max_runs = check_integer("hydra.launcher.max_runs", max_runs, 1, "1 trains each run alone.")

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config
        self.job: Any = task_function

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        setup_globals()
        self._log_as_launcher()
        log.info("Launching %d jobs locally, up to %d as one", len(job_overrides), self.max_runs)
        numbered = dict(enumerate(job_overrides, start=initial_job_idx))
        returns = {}
        for pack in self._packs({number: self._composed(number, words) for number, words in numbered.items()}):
            if len(pack) > 1:
                self._train_as_one(pack)
            for number, config in pack.items():
                log.info("\t#%d : %s", number, " ".join(filter_overrides(numbered[number])))
                returns[number] = self._run(config, self.job)
        return [returns[number] for number in numbered]

    def _composed(self, number: int, overrides: Sequence[str]) -> DictConfig:
        """The configuration of a run."""
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return config

    def _run(self, config: DictConfig, task: TaskFunction) -> JobReturn:
        """What `task` returns in the directory of the run, with the run's log."""
        try:
            return run_job(
                hydra_context=self.hydra_context,
                task_function=task,
                config=config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        finally:
            self._log_as_launcher()

    def _log_as_launcher(self) -> None:
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)

    def _packs(self, jobs: Mapping[int, DictConfig]) -> Iterator[Pack]:
        """The runs in groups that can be trained as one, those of fewer epochs first."""
        with quick_imports():  # of torch; every command of Hydra imports this module
            from cvae_lightning.training.packed.choice import kind, why_alone
        kinds: dict[Any, Pack] = {}
        for number, config in jobs.items():
            task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
            try:
                reason = why_alone(task)
                length, key = int(task.epochs), number if reason else kind(task)
            except (OmegaConfBaseException, TypeError, ValueError):  # which the run itself will explain
                reason, length, key = None, 0, number
            if reason:
                log.info("\t#%d is trained alone: a pack is not trained with %s", number, reason)
            kinds.setdefault((length, key), {})[number] = config
        for _, group in sorted(kinds.items(), key=lambda item: item[0][0]):
            runs = list(group.items())
            for start in range(0, len(runs), self.max_runs):
                yield dict(runs[start : start + self.max_runs])

    def _train_as_one(self, pack: Pack) -> None:
        """Leave the checkpoints of the trained runs; where something is wrong, the run itself will say it."""
        with quick_imports():
            from cvae_lightning.cli.train import begun
            from cvae_lightning.training.packed.members import Member
            from cvae_lightning.training.packed.train import train_packed
        with ExitStack() as locks:
            members: list[Member] = []  # of those that are not complete

            def begin(config: DictConfig) -> None:
                self.job.check(config)
                run = locks.enter_context(begun(config))
                if not run.complete:
                    log.info("%s is trained as one with up to %d other runs", run.path, len(pack) - 1)
                    members.append(Member(run, members))

            for config in pack.values():
                self._run(config, begin)
            for epoch in sorted({member.epochs for member in members if not member.done}):
                together = [member for member in members if member.epochs == epoch]
                if len(together) == 1:
                    continue
                log.info("Training %d runs as one", len(together))
                try:
                    train_packed(together)
                except Exception as error:
                    reason = sentence(error, "config")
                    log.error("%s Each run goes on alone.", reason, exc_info=not is_mistake(error))
