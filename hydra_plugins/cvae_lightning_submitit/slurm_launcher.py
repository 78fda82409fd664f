"""hydra/launcher=submitit_slurm: each run is a job in the queue of Slurm.

hydra-submitit-launcher does the work in the jobs. Its own launcher stops waiting at the first job that ends without a
result, while the others are still running.
"""

import logging
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from cvae_lightning.core.errors import UserError

log = logging.getLogger(__name__)


class SlurmLauncher(Launcher):
    """Submits all runs as one job array and waits for each of them."""

    def __init__(self, submitit_folder: str, max_num_timeout: int, **parameters: Any) -> None:
        """`parameters`: what submitit writes into the batch script, as hydra-submitit-launcher names it."""
        self.submitit_folder, self.max_num_timeout = submitit_folder, max_num_timeout
        self.parameters: Any = OmegaConf.to_container(OmegaConf.create(parameters), resolve=True)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        try:  # every command of Hydra imports this module, and these take time
            import submitit
            from hydra_plugins.hydra_submitit_launcher import config as names
            from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher as Worker
        except ImportError as error:
            message = (
                "hydra/launcher needs hydra-submitit-launcher, which is not installed: "
                "pip install 'cvae_lightning[cluster]'."
            )
            raise UserError(message) from error
        shared = {field.name for field in fields(names.BaseQueueConf)}
        executor = submitit.AutoExecutor(
            self.submitit_folder, cluster="slurm", slurm_max_num_timeout=self.max_num_timeout
        )
        executor.update_parameters(
            **{name if name in shared else f"slurm_{name}": value for name, value in self.parameters.items()}
        )
        Path(self.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        worker = Worker()
        worker.setup(hydra_context=self.hydra_context, task_function=self.task_function, config=self.config)
        log.info("Submitting %d jobs to Slurm", len(job_overrides))
        arguments = []
        for number, overrides in enumerate(job_overrides, start=initial_job_idx):
            log.info("\t#%d : %s", number, " ".join(filter_overrides(overrides)))
            arguments.append((list(overrides), "hydra.sweep.dir", number, str(number), Singleton.get_state()))
        jobs = executor.map_array(worker, *zip(*arguments, strict=True))
        return [_result(job) for job in jobs]


def _result(job: Any) -> JobReturn:
    """What the run returned; a failure if its job ended without a result, for example because it was cancelled."""
    from submitit.core.utils import UncompletedJobError

    try:
        return job.results()[0]
    except UncompletedJobError:
        message = f"Slurm's job {job.job_id} ended without a result ({job.state}); see {job.paths.stderr}."
        return JobReturn(status=JobStatus.FAILED, _return_value=UserError(message))
