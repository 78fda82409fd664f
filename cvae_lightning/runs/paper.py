"""The numbers of the paper, and which runs they are comparable with."""

from cvae_lightning.runs.metrics_file import Metrics, Setting

TABLE_2: dict[str, dict[str, float]] = {
    "vae": {"ssim": 0.7308, "mse": 0.0227, "score": 8.8326},
    "cvae": {"ssim": 0.7399, "mse": 0.0231, "fid_pixel": 4.4657, "score": 24.2248},
}

TABLE_3: dict[tuple[int, int, float], float] = {
    (10, 20, 0.005): 15.69,
    (10, 30, 0.005): 14.9,
    (10, 40, 0.005): 14.0,
    (10, 15, 0.005): 14.87,
    (10, 20, 0.002): 17.59,
    (15, 30, 0.005): 16.0,
    (20, 20, 0.001): 19.8,
    (20, 15, 0.002): 21.77,
    (30, 15, 0.001): 22.69,
    (30, 15, 0.002): 23.054,
    (30, 20, 0.005): 18.2,
    (30, 10, 0.002): 22.62,
    (50, 15, 0.002): 24.22,
}
"""The Score of the CVAE, by (epochs, latent_dim, lr)."""

COMMON_SETTINGS: dict[str, Setting] = {
    "network": "mlp",
    "hidden": "[400, 400]",
    "injection": "concatenate",
    "likelihood": "gaussian",
    "variance": 0.5,
    "binarize": None,
    "prior": "normal",
    "bound": "elbo",
    "warmup_epochs": 0,
    "free_bits": 0.0,
    "beta": 1.0,
    "batch_size": 1024,
    "optimizer": "adam",
    "schedule": "constant",
    "sampler": "prior",
    "averaging": "none",
    "max_shift": 0,
}


def comparable(metrics: Metrics) -> bool:
    """Whether a run has the paper's data set, network and objective."""
    plain = not any(metrics.get(key) for key in ("flip", "balance", "labelled", "label_dropout"))
    return metrics["dataset"]["name"] == "mnist" and plain and COMMON_SETTINGS.items() <= metrics.items()


def best_run(metrics: Metrics) -> dict[str, float]:
    """The paper's row in Table 2, whose settings it does not state; empty if the run is not comparable."""
    return TABLE_2[metrics["model"]] if comparable(metrics) else {}


def same_settings(metrics: Metrics) -> dict[str, float]:
    """The Score in the paper's Table 3 for the same epochs, latent_dim and lr; empty if there is none."""
    if not comparable(metrics) or metrics["model"] != "cvae":
        return {}
    row = TABLE_3.get((metrics["epochs"], metrics["latent_dim"], metrics["lr"]))
    return {} if row is None else {"score": row}
