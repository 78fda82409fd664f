"""The condition of a run: what its configuration says of the labels of its data set and of its model."""

from typing import Any

from cvae_lightning.core.conditions import Condition


def condition_of_model(model: dict[str, Any]) -> Condition:
    """What the model of a resolved configuration is conditioned on; without columns if it is unconditional.

    A run of an earlier version states a number of classes instead.
    """
    if "condition" in model:
        condition = Condition.from_config(model["condition"])
        return condition.with_unknown() if model.get("label_dropout") else condition
    return _of_classes(model)


def condition_of_data(data: dict[str, Any]) -> Condition:
    """What the images of the data set of a resolved configuration are labelled with."""
    described = data.get("condition")
    return _of_classes(data) if described is None else Condition.from_config(described)


def _of_classes(config: dict[str, Any]) -> Condition:
    return Condition.of_classes(config["num_classes"]) if config.get("num_classes") else Condition()
