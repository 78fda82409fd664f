"""A GPU that computes on the CPU: it finds tensors on different devices, and counts what a real GPU waits for.

Tensors stay ordinary tensors in main memory. Those that are pretended to be on the GPU are known by a mark on their
storage, and `tensor.device` says cuda:0 of them. What a real GPU would refuse is refused here: an operation on tensors
of both devices, and numpy() of a tensor on the GPU. All generators are those of the CPU, so a training on this GPU has
to give the same numbers as one on the CPU.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._C._functorch import get_unwrapped, is_batchedtensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
MARK = "pretended"

NO_LAUNCH = {
    "empty",
    "empty_like",
    "empty_strided",
    "new_empty",
    "new_empty_strided",
    "_local_scalar_dense",
    "lift_fresh",
}
WAITING = {"nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount", "equal"}
TAKES_CPU_INDEX = {"index", "index_put_", "index_put", "_index_put_impl_"}
ASKS_ONLY = {"_has_compatible_shallow_copy_type"}  # for a kind of tensors, of any device


@dataclass
class Counts:
    """What was counted so far."""

    waits: int = 0  # for the GPU, by the process: a number is read, or a size that depends on the data
    copies_to_gpu: int = 0
    launches: int = 0  # of kernels

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(
            self.waits - other.waits, self.copies_to_gpu - other.copies_to_gpu, self.launches - other.launches
        )

    def copy(self) -> "Counts":
        return self - Counts()


def is_on_gpu(tensor: Tensor) -> bool:
    """Whether the tensor is pretended to be on the GPU."""
    while is_batchedtensor(tensor):  # within torch.vmap
        tensor = get_unwrapped(tensor)
    return not tensor.is_meta and hasattr(tensor.untyped_storage(), MARK)


def _put(tensor: Any, on_gpu: bool) -> Any:
    """Say where a new tensor is."""
    if isinstance(tensor, Tensor) and not tensor.is_meta:
        storage = tensor.untyped_storage()
        if on_gpu:
            setattr(storage, MARK, True)
        elif hasattr(storage, MARK):
            delattr(storage, MARK)
    return tensor


def _names_gpu(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


class _Operations(TorchDispatchMode):
    """Checks and counts each operation, in the backward pass too."""

    def __init__(self, counts: Counts) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts = counts
        self.within_gpu_call = False  # of a function of tensors on the GPU, whose new tensors are there too

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor) and not leaf.is_meta]
        name = func._schema.name.removeprefix("aten::")
        on_gpu = [tensor for tensor in tensors if is_on_gpu(tensor)]
        elsewhere = [tensor for tensor in tensors if tensor.ndim and tensor.numel() and not is_on_gpu(tensor)]
        if on_gpu and name not in ASKS_ONLY:
            self._count(func, name, args, on_gpu, elsewhere)
        result = func(*args, **kwargs)
        there = bool(on_gpu) or (self.within_gpu_call and not tensors)
        if there or not _is_view(func):  # without gradients, a conversion is called a view though it may be a copy
            tree_map(lambda leaf: leaf if _is_one_of(leaf, tensors) else _put(leaf, there), result)
        return result

    def _count(self, func: Any, name: str, args: Any, on_gpu: list[Tensor], elsewhere: list[Tensor]) -> None:
        if name == "copy_":
            target, source = args[:2]
            self.counts.copies_to_gpu += is_on_gpu(target) and not is_on_gpu(source)
            self.counts.waits += not is_on_gpu(target)
        elif elsewhere and name in TAKES_CPU_INDEX and is_on_gpu(args[0]):
            self.counts.copies_to_gpu += len(elsewhere)
        elif elsewhere:
            places = [(tuple(tensor.shape), "cuda" if is_on_gpu(tensor) else "cpu") for tensor in (*on_gpu, *elsewhere)]
            raise RuntimeError(f"{name}: expected all tensors on the same device, got {places}")
        self.counts.waits += name == "_local_scalar_dense" or name in WAITING or _has_a_mask(name, args)
        self.counts.launches += name not in NO_LAUNCH and not _is_view(func)


class _Calls(TorchFunctionMode):
    """Answers the calls that name a device, before torch looks for a real one."""

    def __init__(self, operations: _Operations) -> None:
        super().__init__()
        self.operations, self.counts = operations, operations.counts

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (Tensor.to, Tensor.cpu, Tensor.cuda):
            return self._moved(func, args, kwargs)
        if func in (Tensor.numpy, Tensor.__array__) and is_on_gpu(args[0]):
            raise TypeError("can't convert a tensor on the GPU to numpy; use .cpu() first")
        if func is Tensor.tolist and is_on_gpu(args[0]):
            self.counts.waits += 1
        if "device" not in kwargs or kwargs["device"] is None:
            return self._called(func, args, kwargs)
        on_gpu = _names_gpu(kwargs["device"])
        if on_gpu:
            kwargs["device"] = CPU
            self.counts.copies_to_gpu += func in (torch.tensor, torch.as_tensor)
        result = func(*args, **kwargs)
        with _disable_current_modes():
            return tree_map(lambda leaf: _put(leaf, on_gpu), result)

    def _called(self, func: Any, args: Any, kwargs: Any) -> Any:
        before = self.operations.within_gpu_call
        leaves = tree_leaves((args, kwargs))
        if func is F.one_hot and is_on_gpu(args[0]):
            func = _one_hot
        self.operations.within_gpu_call = any(isinstance(leaf, Tensor) and is_on_gpu(leaf) for leaf in leaves)
        try:
            return func(*args, **kwargs)
        finally:
            self.operations.within_gpu_call = before

    def _moved(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        """`tensor.to(...)`, in two parts: to another type of numbers, and to the other device."""
        tensor, *rest = args
        if func is not Tensor.to:
            rest = [CPU if func is Tensor.cpu else GPU]
        elif rest and isinstance(rest[0], Tensor):
            rest = [GPU if is_on_gpu(rest[0]) else CPU, rest[0].dtype]
        places = [word for word in rest if isinstance(word, str | torch.device)]
        device = kwargs.get("device") or next(iter(places), None)
        numbers = next((word for word in rest if isinstance(word, torch.dtype)), kwargs.get("dtype"))
        asked = {"dtype": numbers, "memory_format": kwargs.get("memory_format")}
        if changes := {key: value for key, value in asked.items() if value is not None}:
            tensor = tensor.to(**changes)
        if device is None or tensor.is_meta or torch.device(device).type == "meta":
            return tensor if device is None else tensor.to(device)
        there = _names_gpu(device)
        if there == is_on_gpu(tensor):
            return tensor
        self.counts.copies_to_gpu += there
        self.counts.waits += not there
        with _disable_current_modes():
            return _put(tensor.clone(), there)


def _one_hot(y: Tensor, num_classes: int = -1) -> Tensor:
    """As on a GPU, where the smallest and the largest label are not looked at; as torch decomposes it within vmap."""
    if is_batchedtensor(y):
        return (y[..., None] == torch.arange(num_classes)).long()
    return y.new_zeros(*y.shape, num_classes).scatter_(-1, y[..., None], 1)


def _is_view(func: Any) -> bool:
    return any(value.alias_info is not None and not value.alias_info.is_write for value in func._schema.returns)


def _is_one_of(leaf: Any, tensors: list[Tensor]) -> bool:
    return any(leaf is tensor for tensor in tensors)


def _has_a_mask(name: str, args: Any) -> bool:
    """Whether the size of the result, or the work, depends on how many entries of a mask are true."""
    if name not in TAKES_CPU_INDEX:
        return False
    return any(isinstance(index, Tensor) and index.dtype == torch.bool for index in tree_leaves(args[1]))


@contextmanager
def pretended_gpu() -> Iterator[Counts]:
    """A context in which there is a GPU; `accelerator=gpu` and `auto` train on it."""
    counts = Counts()
    true_device, true_generator = Tensor.device, torch.Generator

    def device_of(tensor: Tensor) -> torch.device:
        with torch._C.DisableTorchFunction():
            return GPU if is_on_gpu(tensor) else true_device.__get__(tensor)

    def synchronize(device: Any = None) -> None:
        counts.waits += 1

    def generator(device: Any = "cpu") -> torch.Generator:
        return true_generator()

    answers: dict[str, Callable[..., Any]] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": lambda device: None,
        "get_device_capability": lambda device=None: (9, 0),
        "get_device_name": lambda device=None: "a pretended GPU",
        "mem_get_info": lambda device=None: (2**34, 2**34),
        "empty_cache": lambda: None,
        "synchronize": synchronize,
    }
    with pytest.MonkeyPatch.context() as patch, ExitStack() as modes:
        for name, answer in answers.items():
            patch.setattr(torch.cuda, name, answer)
        patch.setattr("lightning_fabric.accelerators.cuda.num_cuda_devices", lambda: 1)
        patch.setattr("pytorch_lightning.accelerators.cuda.num_cuda_devices", lambda: 1)
        patch.setattr(Tensor, "device", property(device_of), raising=False)
        patch.setattr(Tensor, "is_cuda", property(is_on_gpu), raising=False)
        patch.setattr(torch, "Generator", generator)
        for check in ("_accelerator_graph_capture_health_check", "_cuda_graph_capture_health_check"):
            patch.setattr(torch.optim.Optimizer, check, lambda optimizer: None, raising=False)  # asks the driver
        modes.enter_context(operations := _Operations(counts))
        modes.enter_context(_Calls(operations))
        yield counts
