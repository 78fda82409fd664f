"""The unconditional VAE, as a LightningModule; the conditional one changes one method (cvae.py)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from cvae_lightning.core.conditions import Condition
from cvae_lightning.core.errors import NonFiniteLoss, check_integer, refuse
from cvae_lightning.core.random_streams import random_stream
from cvae_lightning.core.shapes import Batch, Conditions, Context, Images, Labels, Latents
from cvae_lightning.models.bounds import ELBO, Bound, ELBOBound
from cvae_lightning.models.latents import DiagonalGaussian, LatentDistribution
from cvae_lightning.models.likelihoods import PixelDistribution
from cvae_lightning.models.mean_elbo import MeanELBO
from cvae_lightning.models.optimizers import OptimizerFactory, Schedule, constant
from cvae_lightning.models.priors import Prior, PriorFactory, StandardGaussianPrior
from cvae_lightning.models.samplers import PriorSampler, Sampler, SamplerFactory


@runtime_checkable
class Network(Protocol):
    """Builds the encoder, (x, context) -> parameters, and the decoder, (z, context) -> one output per pixel."""

    def encoder(self, image_shape: Sequence[int], context_dim: int, output_dim: int) -> nn.Module: ...

    def decoder(self, latent_dim: int, context_dim: int, image_shape: Sequence[int]) -> nn.Module: ...


PLAIN_ELBO = ELBOBound()
MOST_UNCHECKED = 1000  # steps after which losses are checked, in a long epoch on a GPU
LISTED = "docs/extending.md lists what a part has to be."


class VAE(LightningModule):
    """p(x, z) = p(z) p(x | z) with a Gaussian posterior, Kingma & Welling 2014; p(z) is N(0, I) unless it is learned.

    All methods take labels `y` on the model's device, one per image, in the form of core/conditions.py, and don't check
    them; this model uses only their number. `inference` takes labels and images in any form, and checks them.

    >>> model = VAE(MLP(), Gaussian(), adam(lr=0.005), latent_dim=20)
    >>> Trainer(max_epochs=10).fit(model, datamodule=DataModule(Digits(), batch_size=64))
    >>> inference.sample(model, num=3).images.shape
    torch.Size([3, 1, 28, 28])
    """

    def __init__(
        self,
        network: Network,
        likelihood: nn.Module,
        optimizer: OptimizerFactory,
        bound: Bound = PLAIN_ELBO,
        image_shape: Sequence[int] = (1, 28, 28),
        latent_dim: int = 20,
        num_classes: int = 0,
        schedule: Schedule | None = None,
        sampler: SamplerFactory = PriorSampler,
        prior: PriorFactory = StandardGaussianPrior,
        condition: Condition | Mapping[str, Any] | None = None,
    ) -> None:
        """`condition` describes the labels that the model is conditioned on; `num_classes` is short for one class.

        Without either, the model ignores labels. Raises UserError for invalid sizes, and for parts that don't fit
        together.
        """
        super().__init__()
        self.condition = self._condition(condition, num_classes)
        if not isinstance(image_shape, list | tuple) or len(image_shape) != 3:
            refuse("channels, height and width", "data.image_shape", image_shape, "MNIST has [1,28,28].")
        sizes = (check_integer("data.image_shape", size, 1, "MNIST has [1,28,28].") for size in image_shape)
        self.image_shape = tuple(sizes)
        self.latent_dim = check_integer("latent_dim", latent_dim, 1, "The paper uses 10 to 50.")
        self.optimizer = optimizer
        self.schedule = schedule or constant()
        self.bound = bound
        self.encoder = network.encoder(image_shape, self.condition.width, 2 * latent_dim)
        self.decoder = network.decoder(latent_dim, self.condition.width, image_shape)
        self.likelihood_head = likelihood
        if set_num_channels := getattr(likelihood, "set_num_channels", None):  # if it has parameters per channel
            set_num_channels(self.image_shape[0])
        self.prior_net = prior(latent_dim, self.condition.num_groups)
        self.sampler = sampler(latent_dim, self.condition.num_groups)
        if not isinstance(self.prior_net, Prior):
            refuse("a module with mixtures()", "prior", type(self.prior_net).__name__, LISTED)
        if not isinstance(self.sampler, Sampler):
            refuse("a module with fit() and mixtures()", "sampler", type(self.sampler).__name__, LISTED)
        if check := getattr(bound, "check", None):  # a bound that works with every prior has none
            check(self.prior_net)
        self._losses: list[tuple[int, Tensor]] = []  # of the steps since they were last checked, with their numbers
        self.train_means, self.val_means, self.test_means = (MeanELBO(bound.beta) for _ in range(3))

    @property
    def learns_from_unlabelled(self) -> bool:
        """Whether training images may be of unknown class."""
        return self.condition.may_be_unknown

    @property
    def num_classes(self) -> int:
        """The number of classes that the model is conditioned on, alone or beside other labels; 0 if there are none."""
        return self.condition.num_classes

    def context(self, y: Conditions) -> Context:
        """What both networks see of the labels: here nothing, of width 0."""
        return torch.empty(len(y), 0, device=y.device)

    def prior(self, y: Conditions) -> LatentDistribution:
        """p(z | y), which depends on the class only."""
        return self.prior_net(self.condition.groups(y))

    def posterior(self, x: Images, y: Conditions) -> DiagonalGaussian:
        """q(z | x, y)."""
        mean, log_var = self.encoder(x, self.context(y)).float().chunk(2, dim=1)
        return DiagonalGaussian(mean, log_var)

    def likelihood(self, z: Latents, y: Conditions) -> PixelDistribution:
        """p(x | z, y)."""
        return self._pixels(z, self.context(y))

    def likelihood_between(self, z: Latents, first: Conditions, last: Conditions, share: float) -> PixelDistribution:
        """p(x | z, y) where the context is `share` of the way from that of the first label to that of the last."""
        start, end = self.context(first), self.context(last)
        return self._pixels(z, torch.lerp(start, end, share))

    def elbo(self, x: Images, y: Conditions) -> ELBO:
        """The ELBO of each image at one draw of z from its posterior."""
        return ELBO.at_a_draw(self, self.posterior(x, y), x, y)

    @torch.no_grad()
    def reconstruct(self, x: Images, y: Conditions) -> Images:
        """The mean of p(x | z, y) at one draw of z from the posterior of each image."""
        return self.likelihood(self.posterior(x, y).rsample(), y).mean

    @torch.no_grad()
    def sample(self, y: Conditions) -> Images:
        """The mean of p(x | z, y) at one draw of z from the sampler: one image per label."""
        return self.likelihood(self.sample_latents(y), y).mean

    @torch.no_grad()
    def sample_latents(self, y: Conditions, temperature: float | None = None) -> Latents:
        """One draw of z per label from the sampler; None is the sampler's own temperature."""
        return self.sampler(self.condition.groups(y), self.prior(y), temperature)

    @torch.no_grad()
    def fit_sampler(self, batches: Iterable[Batch]) -> None:
        """Fit the sampler to one draw from the posterior of each training image.

        Where the class may be unknown, each image is encoded without it too, for the density of an unknown class.
        """
        self.sampler.fit(self._encoded(batches))

    def _pixels(self, z: Latents, context: Context) -> PixelDistribution:
        return self.likelihood_head(self.decoder(z, context).float().contiguous())  # convolutions keep channels last

    def _encoded(self, batches: Iterable[Batch]) -> Iterator[tuple[Latents, Labels]]:
        """Draws from the posteriors, batch by batch, with the groups that they belong to."""
        for x, y in batches:
            yield self.posterior(x, y).rsample(), self.condition.groups(y)
            if self.condition.num_groups > self.condition.num_classes:
                hidden = self.condition.without_class(y)
                yield self.posterior(x, hidden).rsample(), self.condition.groups(hidden)

    def _condition(self, condition: Condition | Mapping[str, Any] | None, num_classes: int) -> Condition:
        """The condition that the constructor's arguments describe: here none."""
        check_integer("num_classes", num_classes, 0, "0 is a model that ignores labels.")
        return Condition()

    def loss(self, x: Images, y: Conditions, epoch: int) -> tuple[Tensor, ELBO]:
        """What training minimises, for a batch in `epoch` (the first is 0), and the ELBO at the same draws."""
        return self.bound.loss(self, x, y, epoch)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss, elbo = self.loss(*batch, epoch=self.current_epoch)
        self._losses.append((self.global_step, loss.detach()))
        if loss.device.type == "cpu" or self.trainer.is_last_batch or len(self._losses) == MOST_UNCHECKED:
            self._check_losses()
        self.train_means.update(elbo)
        if self.trainer.is_last_batch:
            self._log("train", self.train_means)
        return loss

    def _check_losses(self) -> None:
        """Raises NonFiniteLoss for the first of the losses since the last check that is not finite.

        On a GPU, a check waits for all steps before it. So there is one per epoch, or `MOST_UNCHECKED` steps, and one
        before each checkpoint.
        """
        losses, self._losses = self._losses, []
        if not losses or (finite := torch.stack([loss for _, loss in losses]).isfinite()).all():
            return
        step, loss = losses[int(finite.int().argmin())]
        raise NonFiniteLoss(
            f"Expected a finite loss, got {loss.item()} at step {step} (epoch {self.current_epoch}). "
            "Lower lr; checkpoints/last.ckpt holds the last good weights."
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._check_losses()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(self.val_means, batch, batch_idx)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(self.test_means, batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        self._log("val", self.val_means)

    def on_test_epoch_end(self) -> None:
        self._log("test", self.test_means)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = self.optimizer(self.parameters())
        steps_per_epoch = int(self.trainer.estimated_stepping_batches) // (self.trainer.max_epochs or 1)
        scheduler = self.schedule(optimizer, steps_per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _measure(self, means: MeanELBO, batch: Batch, batch_idx: int) -> None:
        """Add the ELBO of a batch: the same draws in every epoch, none from the training's stream; always float32."""
        with random_stream(batch_idx), torch.autocast(self.device.type, enabled=False):
            means.update(self.elbo(*batch))

    def _log(self, split: str, means: MeanELBO) -> None:
        values = {f"{split}/{name}": value for name, value in means.compute().items()}
        self.log_dict(values, on_step=False, on_epoch=True)
        means.reset()
