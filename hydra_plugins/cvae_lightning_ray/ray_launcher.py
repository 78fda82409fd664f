"""hydra/launcher=ray: each run is a task of a Ray cluster.

Hydra looks for launchers in the namespace package hydra_plugins only. hydra-ray-launcher has no release for Hydra 1.3
on Python 3.11.
"""

import logging
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from cvae_lightning.core.errors import UserError

log = logging.getLogger(__name__)


class RayLauncher(Launcher):
    """Hands all runs to Ray at once, which starts each where there is room for it, in the order of their numbers."""

    def __init__(self, init: Mapping[str, Any], remote: Mapping[str, Any]) -> None:
        """`init`: arguments of ray.init; `remote`: the options of a task, such as num_cpus and num_gpus."""
        self.init: Any = OmegaConf.to_container(OmegaConf.create(dict(init)), resolve=True)
        self.remote: Any = OmegaConf.to_container(OmegaConf.create(dict(remote)), resolve=True)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        try:
            import ray  # takes seconds, and every command of Hydra imports this module
        except ImportError as error:
            message = "hydra/launcher needs ray, which is not installed: pip install 'cvae_lightning[cluster]'."
            raise UserError(message) from error
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        if not ray.is_initialized():  # a search launches again and again
            handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
            ray.init(**self.init)
            for signum, handler in handlers.items():  # Ray has set its own for SIGTERM
                signal.signal(signum, handler)
        resources = with_gpus(self.remote, ray.cluster_resources(), self.config.accelerator)
        log.info("Launching %d jobs on Ray, each with num_gpus=%g", len(job_overrides), resources["num_gpus"])
        task = ray.remote(**resources)(_run)
        shared = ray.put((self.hydra_context, self.task_function, self.config, Singleton.get_state(), Path.cwd()))
        futures = []
        for number, overrides in enumerate(job_overrides, start=initial_job_idx):
            log.info("\t#%d : %s", number, " ".join(filter_overrides(overrides)))
            futures.append(task.remote(shared, list(overrides), number).future())
        return [_result(future) for future in futures]


def with_gpus(remote: Mapping[str, Any], cluster: Mapping[str, float], accelerator: str) -> dict[str, Any]:
    """`remote`, with a GPU for each run if it leaves num_gpus open and the `cluster` has any.

    Ray hides all GPUs from a task that has asked for none, and the run would train on a CPU.
    """
    if remote.get("num_gpus") is not None:
        return dict(remote)
    return {**remote, "num_gpus": 1 if cluster.get("GPU") and accelerator != "cpu" else 0}


def _run(shared: tuple[Any, ...], overrides: list[str], number: int) -> JobReturn:
    """One run, in a worker of Ray."""
    hydra_context, task_function, config, singletons, folder = shared
    os.chdir(folder)
    setup_globals()
    Singleton.set_state(singletons)
    run_config = hydra_context.config_loader.load_sweep_config(config, overrides)
    with open_dict(run_config):
        run_config.hydra.job.id = f"{run_config.hydra.job.name}_{number}"
        run_config.hydra.job.num = number
    HydraConfig.instance().set_config(run_config)
    return run_job(
        hydra_context=hydra_context,
        config=run_config,
        task_function=task_function,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )


def _result(future: Any) -> JobReturn:
    """What the run returned; where its worker died more often than it is tried again, a failed run like any other.

    A future is waited for in Python, where Ctrl-C is heard: ray.get loses exceptions other than KeyboardInterrupt.
    """
    import ray

    try:
        return future.result()
    except ray.exceptions.RayError as error:
        return JobReturn(status=JobStatus.FAILED, _return_value=error)
