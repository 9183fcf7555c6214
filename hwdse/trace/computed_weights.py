"""Weights that PyTorch computes before a module's forward pass: by parametrisations, or by hooks (weight norm, spectral norm, pruning).

What is deployed is the computed weight. It is quantised as a plain parameter; a pruned weight keeps its zeros while it is trained.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm, remove_spectral_norm
from torch.nn.utils.weight_norm import WeightNorm, remove_weight_norm

_OF_A_CLASS = ("__dict__", "__weakref__")  # what a class makes for itself


def _hook(module: nn.Module) -> object | None:
    """The hook that makes ``module.weight``; None where none does."""
    for hook in module._forward_pre_hooks.values():
        name = hook._tensor_name if isinstance(hook, prune.BasePruningMethod) else getattr(hook, "name", None)
        if isinstance(hook, (WeightNorm, SpectralNorm, prune.BasePruningMethod)) and name == "weight":
            return hook
    return None


def computed_before(module: nn.Module) -> bool:
    """Whether ``module.weight`` is computed by a parametrisation or by one of PyTorch's hooks, so that it can be made plain."""
    return parametrize.is_parametrized(module, "weight") or _hook(module) is not None


def parametrizations_of(module: nn.Module) -> nn.Module:
    """The parametrisations of a parametrised ``module.weight``."""
    return cast(nn.ModuleDict, module.parametrizations)["weight"]


def make_plain(module: nn.Module) -> None:
    """Replaces a computed ``module.weight`` by a parameter of its present value, in place."""
    if parametrize.is_parametrized(module, "weight"):
        own = parametrizations_of(module)
        trained = any(p.requires_grad for p in own.parameters())
        own.eval()  # no step of a power iteration
        kind = type(module)  # which copies of the module share: PyTorch takes the weight off it
        module.__class__ = type(kind.__name__, kind.__bases__, {k: v for k, v in vars(kind).items() if k not in _OF_A_CLASS})
        with torch.no_grad():
            value = cast(Tensor, module.weight).clone()
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
        module.weight = nn.Parameter(value, requires_grad=trained)
        return
    hook = _hook(module)
    if isinstance(hook, WeightNorm):
        remove_weight_norm(module)
    elif isinstance(hook, SpectralNorm):
        remove_spectral_norm(module)
    elif isinstance(hook, prune.BasePruningMethod):
        mask = cast(Tensor, module.weight_mask).clone()
        prune.remove(module, "weight")  # type: ignore[no-untyped-call]  # torch's stub
        weight = cast(nn.Parameter, module.weight)
        if weight.requires_grad:
            weight.register_hook(lambda gradient: gradient * mask.to(gradient.device))  # type: ignore[no-untyped-call]  # torch's stub


def detach_computed(network: nn.Module) -> nn.Module:
    """The network, which can be copied: what hooks left behind as attributes is cut off from what it was computed from."""
    for module in network.modules():
        for name, value in vars(module).items():
            if isinstance(value, Tensor) and not value.is_leaf:
                vars(module)[name] = value.detach()
    return network
