"""Batch-norm statistics under changing widths: left alone by probes, estimated anew for the widths that are kept."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from .inputs import run
from .task import Task, batches_of, device_of

REESTIMATED = 50  # training batches for the statistics


def _norms(network: nn.Module) -> list[nn.modules.batchnorm._NormBase]:
    """Batch and instance norms that keep running statistics."""
    return [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._NormBase) and m.running_mean is not None]


def untracked(network: nn.Module) -> bool:
    """Whether there are norms that have seen no batch yet: the network has never been trained."""
    return any(n.num_batches_tracked is not None and int(n.num_batches_tracked) == 0 for n in _norms(network))


@contextlib.contextmanager
def frozen_statistics(network: nn.Module) -> Iterator[None]:
    """While open, norms in training mode use the batch's statistics and leave their running ones alone."""
    norms = {m: (m.momentum, m.num_batches_tracked.clone()) for m in _norms(network) if m.training and m.num_batches_tracked is not None}
    for norm in norms:
        norm.momentum = 0.0  # running = 1 x running + 0 x batch
    try:
        yield
    finally:
        for norm, (momentum, count) in norms.items():
            norm.momentum = momentum
            norm.num_batches_tracked = count


def reestimate_norms(network: nn.Module, task: Task, seed: int) -> None:
    """Batch-norm running statistics anew, as plain averages over up to :data:`REESTIMATED` training batches at the final widths.

    Widths that changed during training leave running averages of a network that no longer exists.
    """
    norms = _norms(network)
    if not norms:
        return
    momenta = {norm: norm.momentum for norm in norms}
    modes = {m: m.training for m in network.modules()}
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
        norm.train()
    try:
        with torch.no_grad():
            for number, (inputs, _) in enumerate(batches_of(task, "train", seed, device_of(network))):
                if number == REESTIMATED:
                    break
                run(network, inputs)
    finally:
        for norm, momentum in momenta.items():
            norm.momentum = momentum
        for module, training in modes.items():
            module.training = training
