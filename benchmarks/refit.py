"""A mixture of another size for a trained run, in place of its own: how good its samples are, on val and on test.

    python benchmarks/refit.py <run directory> <components>:<images per component> [--teach]

The mixture is fitted with the run's seed to the latents of its training images, as at the end of a training. With
--teach, a judge is trained on its samples as well, for `cas`.
"""

import argparse
from pathlib import Path

from taught import refit

from cvae_lightning import Run
from cvae_lightning.core.products import exact_products
from cvae_lightning.evaluators.cas import ClassificationAccuracyScore
from cvae_lightning.evaluators.sample_quality import SampleQuality
from cvae_lightning.training.parts import local_data

SHOWN = ("fid_judge", "fid_judge_floor", "precision", "recall", "accuracy", "accuracy_worst_class", "cas", "cas_real")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("mixture", metavar="components:images")
    parser.add_argument("--teach", action="store_true")
    asked = parser.parse_args()
    run = Run(asked.run)
    model, data, seed = run.model().eval(), local_data(run, {}), run.raw_config.seed
    for stage in ("fit", "test"):
        data.setup(stage)
    folder = f"{run.raw_config.data_dir}/judges"
    with exact_products(model.device):
        refit(model, data, asked.mixture, seed)
        teaching = [ClassificationAccuracyScore(folder, seed=seed)] if asked.teach else []
        for evaluator in (SampleQuality(folder, seed=seed), *teaching):
            for split in ("val", "test"):
                measured = evaluator.measure(model, data.batches(split), data.splits["train"], split)
                print(split, {name: measured[name] for name in SHOWN if name in measured}, flush=True)


if __name__ == "__main__":
    main()
