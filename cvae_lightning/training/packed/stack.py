"""Models of one architecture, computed and trained as one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from cvae_lightning.core.products import set_products
from cvae_lightning.core.shapes import Conditions, Images
from cvae_lightning.models.bounds import ELBO, ELBOBound
from cvae_lightning.models.latents import DiagonalGaussian
from cvae_lightning.models.vae import VAE

Checkpoint: TypeAlias = dict[str, Any]
"""What Lightning saves of a training."""
MOMENTS = ("exp_avg", "exp_avg_sq")  # of Adam, by their names in its state


class Stack:
    """Models that differ only in their weights. Its tensors have one dimension more, the first one, for the models.

    One call computes all models (torch.vmap), and one step of Adam updates them. All weights lie in a matrix with a row
    per model, in units of the model's learning rate: since Adam moves a weight by a multiple of that rate, whatever the
    size of its gradient, the rate is 1 in these units for every model.
    """

    def __init__(self, model: VAE, checkpoints: Sequence[Checkpoint], device: torch.device) -> None:
        """`checkpoints` are of trainings of models like `model` by Adam, after the same number of steps."""
        self._model = model.to(device)
        self._module = _Computation(self._model)
        self._shapes = {name: weight.shape for name, weight in model.named_parameters()}
        self._optimized: set[int] = set()  # the positions of the weights that the loss depends on
        optimizers = [checkpoint["optimizer_states"][0] for checkpoint in checkpoints]
        settings = [optimizer["param_groups"][0] for optimizer in optimizers]
        states = [checkpoint["state_dict"] for checkpoint in checkpoints]
        self._weights = torch.stack([_flat(state[name] for name in self._shapes) for state in states]).to(device)
        self._lr = torch.tensor([setting["lr"] for setting in settings]).to(device)[:, None]
        self._in_units = nn.Parameter(self._weights / self._lr)
        betas, eps = settings[0]["betas"], settings[0]["eps"]
        self._adam = torch.optim.Adam([self._in_units], lr=1.0, betas=betas, eps=eps, fused=True)
        self._adam.state[self._in_units] = self._joint([optimizer["state"] for optimizer in optimizers])
        parts = zip(self._shapes.items(), self._split(self._weights), strict=True)
        self._parameters = {name: part.view(-1, *shape).requires_grad_() for (name, shape), part in parts}
        buffers = states[0].keys() - self._shapes.keys()
        self._buffers = {name: torch.stack([state[name] for state in states]).to(device) for name in buffers}

    def step(self, x: Images, y: Conditions, noise: Tensor, weight: Tensor, precision: str) -> tuple[Tensor, ELBO]:
        """Train each model on a batch of its own; return its loss, (models,), and its ELBOs, (models, batch).

        `noise`, from N(0, I), becomes the draw of z of each image; `weight` is that of the KL term for each model.
        Products of the backward pass are rounded as `precision` says.
        """
        self._model.train()
        q = self._each(_posterior, x, y)
        losses, elbo = self._each(_loss_at, q, q.at(noise), x, y, weight)
        set_products(x.device, precision)
        gradients = torch.autograd.grad(losses.sum(), list(self._parameters.values()), allow_unused=True)
        set_products(x.device)
        self._update(gradients)
        return losses.detach(), ELBO(elbo.log_likelihood.detach(), elbo.kl.detach())

    @torch.no_grad()
    def elbo(self, x: Images, y: Conditions, noise: Tensor) -> ELBO:
        """The ELBOs of each model, in evaluation mode, for the same images at the same noise: (models, batch)."""
        self._model.eval()
        q = self._each(lambda model: _posterior(model, x, y))
        return cast(ELBO, self._each(lambda model, q, z: ELBO.at(model, q, z, x, y), q, q.at(noise)))

    def write_into(self, checkpoints: Mapping[int, Checkpoint]) -> None:
        """Put weights, buffers and Adam's state into the checkpoints of models, which are known by their rows."""
        state = self._adam.state[self._in_units]
        weights, *moments = (self._split(part.detach().cpu()) for part in (self._weights, *map(state.get, MOMENTS)))
        buffers = {name: buffer.cpu() for name, buffer in self._buffers.items()}
        for row, checkpoint in checkpoints.items():
            parts = zip(self._shapes.items(), weights, strict=True)
            own = {name: part[row].view(shape).clone() for (name, shape), part in parts}
            own |= {name: buffer[row].clone() for name, buffer in buffers.items()}
            checkpoint["state_dict"] = {name: own[name] for name in checkpoint["state_dict"]}
            checkpoint["optimizer_states"][0]["state"] = {
                position: {"step": state["step"].cpu().clone()}
                | {name: part[position][row].view(shape).clone() for name, part in zip(MOMENTS, moments, strict=True)}
                for position, shape in enumerate(self._shapes.values())
                if position in self._optimized
            }

    def _each(self, compute: Callable[..., Any], *arguments: Any) -> Any:
        """`compute(model, *arguments)` for each model, with its part of the arguments."""

        def one(weights: dict[str, Tensor], *own: Any) -> Any:
            return torch.func.functional_call(self._module, weights, (compute, *own))

        weights = {f"model.{name}": tensor for name, tensor in (self._parameters | self._buffers).items()}
        return torch.vmap(one)(weights, *arguments)

    @torch.no_grad()
    def _update(self, gradients: Sequence[Tensor | None]) -> None:
        """One step of Adam along the gradients of the weights."""
        self._optimized |= {position for position, gradient in enumerate(gradients) if gradient is not None}
        given = zip(gradients, self._parameters.values(), strict=True)
        known = [torch.zeros_like(weight) if gradient is None else gradient for gradient, weight in given]
        self._in_units.grad = torch.cat([gradient.reshape(len(self._weights), -1) for gradient in known], 1)
        self._adam.step()
        torch.mul(self._in_units, self._lr, out=self._weights)

    def _joint(self, states: Sequence[Mapping[int, Mapping[str, Tensor]]]) -> dict[str, Tensor]:
        """Adam's state of the matrix, from its states of the weights of each model, which may be empty."""
        self._optimized |= states[0].keys()
        missing = dict.fromkeys(MOMENTS)
        rows = {
            name: torch.stack(
                [
                    _flat(
                        torch.zeros(shape) if (value := state.get(position, missing)[name]) is None else value
                        for position, shape in enumerate(self._shapes.values())
                    )
                    for state in states
                ]
            ).to(self._weights.device)
            for name in MOMENTS
        }
        steps = next((float(value["step"]) for value in states[0].values()), 0.0)
        return {"step": torch.tensor(steps).to(self._weights.device), **rows}

    def _split(self, matrix: Tensor) -> Sequence[Tensor]:
        """The columns of each weight."""
        return matrix.split([shape.numel() for shape in self._shapes.values()], dim=1)


class _Computation(nn.Module):
    """A module whose call is a computation with a model, since weights can be replaced for a call of a module only."""

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, compute: Callable[..., Any], *arguments: Any) -> Any:
        return compute(self.model, *arguments)


def _posterior(model: VAE, x: Images, y: Conditions) -> DiagonalGaussian:
    return model.posterior(x, y)


def _loss_at(
    model: VAE, q: DiagonalGaussian, z: Tensor, x: Images, y: Conditions, weight: Tensor
) -> tuple[Tensor, ELBO]:
    return cast(ELBOBound, model.bound).loss_at(model, q, z, x, y, weight)


def _flat(tensors: Any) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])
