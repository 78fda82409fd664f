"""A conditional VAE that learns from images of unknown class too."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvae_lightning.core.conditions import Condition
from cvae_lightning.core.errors import check_integer, check_not_negative, refuse
from cvae_lightning.core.shapes import Batch, Conditions, Images, Logits, no_context
from cvae_lightning.models.bounds import ELBO, ELBOBound
from cvae_lightning.models.cvae import CVAE
from cvae_lightning.models.vae import Network


class M2(CVAE):
    """The generative model M2 of Kingma et al. 2014: a CVAE, and a classifier q(y | x) for images of unknown class.

    An image of known class counts with the ELBO of log p(x | y), as in a CVAE. One of unknown class counts with
    log p(x) >= sum_y q(y | x) ELBO(x, y) - KL(q(y | x) || p(y)), eq. 7, where p(y) is uniform. Each step adds the mean
    of -log q(y | x) over a batch of images of known class alone, times `classification_weight`, eq. 9; as the loss is a
    mean over images, the paper's weight alpha = 0.1 N is 0.1 here.

    In training, q(y | x) sees each image moved by up to `classifier_shift` pixels along each axis, and the ELBO
    describes the image itself. The bound holds for any q(y | x), so also for that of a moved image.
    """

    def __init__(
        self,
        network: Network,
        *parts: Any,
        classifier: Network | None = None,
        classification_weight: float = 10.0,
        labelled_batch_size: int = 100,
        classifier_shift: int = 0,
        **named: Any,
    ) -> None:
        """`network`, `parts` and `named` are the arguments of `CVAE`.

        q(y | x) is an encoder of `classifier`, without it one of `network`. Raises UserError for fewer than two
        classes, and for a bound that is not an ELBO, or has free bits.
        """
        super().__init__(network, *parts, **named)
        weight, size = classification_weight, labelled_batch_size
        self.classification_weight = check_not_negative("model.classification_weight", weight, "The default is 10.")
        self.labelled_batch_size = check_integer("model.labelled_batch_size", size, 1, "100 is the default.")
        shift, side = classifier_shift, min(self.image_shape[1:])
        self.classifier_shift = check_integer("model.classifier_shift", shift, 0, "0 moves no image; 2 suits 28x28.")
        if shift >= side:
            refuse(f"fewer than {side} pixels", "model.classifier_shift", shift, "2 suits 28x28.")
        if self.num_classes < 2:
            refuse("at least 2 classes", "data.condition", self.num_classes, "model=cvae needs none.")
        if not isinstance(self.bound, ELBOBound) or self.bound.free_bits:
            remedy = "It is summed over the classes of an image: use bound=elbo and bound.free_bits=0."
            refuse("an ELBO without free bits", "bound", type(self.bound).__name__, remedy)
        if self.label_dropout:
            refuse("0", "model.label_dropout", self.label_dropout, "Images of unknown class are learned from as such.")
        self.classifier = self._classifier(network, classifier)
        self._labelled: Iterator[Batch] = iter(())  # of this epoch
        self._all_labelled = False

    @property
    def learns_from_unlabelled(self) -> bool:
        return True

    def class_log_probabilities(self, x: Images) -> Logits:
        """Log q(y | x) of each class, (batch, classes), in nats."""
        return self.classifier(self.moved(x), no_context(x)).float().log_softmax(1)

    def moved(self, x: Images) -> Images:
        """`x` as q(y | x) sees it: in training, each image is moved on its own, and what it leaves is black."""
        if not (self.training and self.classifier_shift):
            return x
        most = self.classifier_shift
        down, right = torch.randint(2 * most + 1, (2, len(x), 1), device=x.device)
        image, channel, row, column = (torch.arange(size, device=x.device) for size in x.shape)
        index = (image[:, None, None, None], channel[:, None, None])
        return F.pad(x, [most] * 4)[(*index, (down + row)[:, None, :, None], (right + column)[:, None, None])]

    def completed(self, x: Images, y: Conditions) -> Conditions:
        """`y` with the most probable class of each image where it is unknown."""
        classes = self.condition.classes(y)
        return self.condition.with_class(
            y, torch.where(classes < 0, self.class_log_probabilities(x).argmax(1), classes)
        )

    @torch.no_grad()
    def fit_sampler(self, batches: Iterable[Batch]) -> None:
        """Fit the sampler as a CVAE does; an image of unknown class counts with its most probable one."""
        super().fit_sampler((x, self.completed(x, y)) for x, y in batches)

    def loss(self, x: Images, y: Conditions, epoch: int) -> tuple[Tensor, ELBO]:
        assert isinstance(self.bound, ELBOBound)
        elbo = self.elbo_of(self.described(x), y) if self._all_labelled else self.marginal_elbo(x, y)
        loss = elbo.loss(self.bound.weight(epoch))
        if labelled := next(self._labelled, None):
            x, y = labelled
            loss_of_classes = F.nll_loss(self.class_log_probabilities(x), self.condition.classes(y))
            loss = loss + self.classification_weight * loss_of_classes
        return loss, elbo

    def marginal_elbo(self, x: Images, y: Conditions) -> ELBO:
        """The ELBO of each image, summed over all classes where its own is unknown.

        Its KL is that of the latents plus that of the class. Every image is decoded once per class, whether its class
        is known or not, so that a GPU need not wait for the number of either.
        """
        num, log_q, classes = self.num_classes, self.class_log_probabilities(x), self.condition.classes(y)
        known = (classes >= 0)[:, None]
        shares = torch.where(known, F.one_hot(classes.clamp(min=0), num), log_q.exp())  # (batch, classes)
        every_y = torch.cat([self.condition.with_class(y, number) for number in range(num)])
        by_class = self.elbo_of(torch.cat([self.described(x)] * num), every_y)
        log_likelihood, kl = ((shares * part.unflatten(0, (num, -1)).T).sum(1) for part in by_class)
        kl_of_class = torch.where(known, 0, log_q.exp() * (log_q + math.log(num))).sum(1)
        return ELBO(log_likelihood, kl + kl_of_class)

    def described(self, x: Images) -> Tensor:
        """What the ELBO of the training is of: here the images themselves."""
        return x

    def elbo_of(self, described: Tensor, y: Conditions) -> ELBO:
        """The ELBO of what is described, given its class, at one draw of z."""
        return self.elbo(described, y)

    def on_train_epoch_start(self) -> None:
        data: Any = getattr(self.trainer, "datamodule", None)
        if not hasattr(data, "labelled_loader"):
            refuse("a DataModule of this package", "datamodule", type(data).__name__, "Fit with datamodule=...")
        loader = data.labelled_loader(self.labelled_batch_size, self.current_epoch)
        batches = iter(loader)
        self._labelled = chain([next(batches)], batches)  # the first step does not wait for the order of the epoch
        self._all_labelled = len(loader.split.labels) == data.num_train_images

    def on_train_epoch_end(self) -> None:
        self._labelled = iter(())

    def _classifier(self, network: Network, classifier: Network | None) -> nn.Module:
        return (classifier or network).encoder(self.image_shape, 0, self.num_classes)

    def _condition(self, condition: Condition | Mapping[str, Any] | None, num_classes: int) -> Condition:
        """The condition of a CVAE, where a class is always known: what is unknown is summed over."""
        described = super()._condition(condition, num_classes)
        known = (
            replace(column, optional=False) if column is described.main else column for column in described.columns
        )
        return Condition(tuple(known))
