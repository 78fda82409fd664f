"""Images along one latent at a time, which show what each latent does."""

from math import prod

from omegaconf import DictConfig

from cvae_lightning.drawing.request import Verb, asked_labels


def traverse(config: DictConfig) -> None:
    """For each label a row a latent, by KL, over -3..3 around the mean of the sampler's latents of that label."""
    verb = Verb(config)  # a mistake there is told before torch is imported

    import torch

    from cvae_lightning.core.errors import check_integer, check_positive
    from cvae_lightning.core.pictures import MOST, evenly, image_table
    from cvae_lightning.drawing.paths import traversal
    from cvae_lightning.models import inference

    steps = check_integer("steps", config.steps, 2, "13 is the default.")
    reach = check_positive("reach", config.reach, "3 is the default.")
    num = check_integer("num", config.num, 1, "20 is the default.")
    model = verb.run.model()
    labels = asked_labels(model, config.labels)
    size = 4 * steps * min(num, model.latent_dim) * prod(model.image_shape)
    verb.check_capacity(f"steps={steps}", size * max(len(labels), 1), 2 * size)
    sampler = model.sampler.mixtures(model.prior_net).by_class(model.num_classes)
    kl, centres = inference.kl_by_latent(model), sampler.moments().mean
    order, values = kl.argsort(descending=True, stable=True)[:num], torch.linspace(-reach, reach, steps)
    names = [f"z{latent}: {kl[latent]:.2f}" for latent in order.tolist()]
    for label in labels or [0]:
        latents = traversal(centres[label], order, values)
        images = inference.decode(model, latents.flatten(0, 1), torch.full((len(order) * steps,), label))
        title = f"Each latent over -{reach:g} to {reach:g}, by KL in nats" + (f"; label {label}" if labels else "")
        arrays = {"images": images.unflatten(0, (-1, steps)), "latents": latents, "order": order, "kl": kl}
        name = f"traversal_{label}" if labels else "traversal"
        shown = arrays["images"][:MOST, evenly(steps)]
        figure = image_table(shown.flatten(0, 1), shown.shape[1], names[:MOST], title)
        verb.write(name, figure, **arrays, values=values)
