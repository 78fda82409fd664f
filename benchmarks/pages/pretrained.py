"""The table of docs/pretrained.md, from the files of the models that come with the package."""

from writing import table

from cvae_lightning.runs.pretrained import PREFIX, WEIGHTS_SHA256
from cvae_lightning.runs.run import WEIGHTS, Run

KINDS = {
    "best": "the paper's network at its best",
    "best_conv": "a residual network, for the best samples",
    "nll_cvae": "black-and-white digits, for the best likelihood",
}


def pretrained() -> str:
    """One line per model: what it is, its main numbers on test, and the size of its weights."""
    body = []
    for name in WEIGHTS_SHA256:
        run = Run(f"{PREFIX}{name}")
        test = run.metrics["test"]
        floor = f" ({test['fid_judge_floor']:.3f})" if test.get("fid_judge_floor") is not None else ""
        numbers = [f"{test[key]:{kind}}" if test.get(key) is not None else "-" for key, kind in NUMBERS.items()]
        numbers[1] += floor
        size = (run.path / WEIGHTS).stat().st_size / 1e6
        body.append([f"`{PREFIX}{name}`", KINDS[name], f"{run.metrics['parameters']:,}", *numbers, f"{size:.1f} MB"])
    head = ["`run=`", "what it is", "parameters", "MSE", "`fid_judge` (floor)", "accuracy", "`nll_iw`, nats", "file"]
    return table(head, body)


NUMBERS = {"mse": ".5f", "fid_judge": ".3f", "accuracy": ".4f", "nll_iw": ",.2f"}
TABLES = {"pretrained": pretrained}
