"""Why a layer has its widths: what it is expected to lose and what it costs, beside one bit more and one bit less."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..bits import BitWidths
from ..costs import CostTable
from ..errors import UnknownName, UsageError
from ..records import SweepRecord, TrialResult
from .limits import Limit, budget_limits, budget_of


@dataclass(frozen=True)
class Alternative:
    """One layer at other widths, all else as it is.

    Attributes:
        widths: the layer's. loss: change of the expected loss of the network, nats. costs: metric key -> change, in stored units.
        inside: whether the trial's budget still holds; None where it has none.
    """

    widths: BitWidths
    loss: float
    costs: Mapping[str, float]
    inside: bool | None


@dataclass(frozen=True)
class LayerFacts:
    """One layer of a trial.

    Attributes:
        layer, widths: what was chosen.
        loss, share: its expected loss in nats, and as a share of the network's.
        costs, shares: metric key -> its cost, and as a share of the network's largest row, fixed parts included.
        alternatives: the next width up and down, of weights and of activations, as far as the tables go.
    """

    layer: str
    widths: BitWidths
    loss: float
    share: float
    costs: Mapping[str, float]
    shares: Mapping[str, float]
    alternatives: tuple[Alternative, ...]


@dataclass(frozen=True)
class Explained:
    """A trial, layer by layer; the layer that is expected to lose most first."""

    trial: TrialResult
    limits: tuple[Limit, ...]
    layers: tuple[LayerFacts, ...]


def explain(record: SweepRecord, number: int) -> Explained:
    """Works from the tables of the run; nothing is run.

    Raises:
        UnknownName: no such trial. UsageError: a trial without an allocation, or a run folder without its tables.
    """
    trial = next((t for t in record.trials if t.number == number), None)
    if trial is None:
        raise UnknownName("trial", str(number), [str(t.number) for t in record.trials])
    if trial.allocation is None:
        raise UsageError(f"trial {number} has no allocation to explain: it {trial.state}{f' ({trial.error})' if trial.error else ''}.")
    if "loss" not in record.tables:
        raise UsageError("the run folder has no tables.npz: without the cost and loss tables there is nothing to explain from.")
    known = record.tables_of(trial)
    if not known:
        raise UsageError(
            f"trial {number} holds its weights as indices into codebooks, whose tables are not in the run folder yet; those of plain "
            "weights differ. They are written when the sweep ends (the same hwdse sweep command goes on). Or explain another trial."
        )
    limits = budget_limits(record, budget_of(trial)) or ()
    keys = list(dict.fromkeys([limit.metric.key for limit in limits if limit.metric.key in known])) or [
        m.key for m in record.costs if m.key in known and m.on in (None, trial.knobs.get("accelerator"))
    ]
    loss = known["loss"]
    tables = {key: known[key] for key in keys}
    chosen = _indices(loss, trial)
    whole = {key: float(t.totals(_indices(t, trial))[0]) for key, t in tables.items()}
    total = float(loss.totals(chosen)[0])
    layers = []
    for i, name in enumerate(loss.layers):
        mine = float(loss.dense[0, i, chosen[i]])
        costs = {key: float(t.by_layer(_indices(t, trial))[t.layers.index(name)]) for key, t in tables.items()}
        shares = {key: costs[key] / whole[key] if whole[key] else 0.0 for key in keys}
        found = [_alternative(loss, tables, trial, limits, i, option) for option in _next(loss, trial.allocation[name])]
        layers.append(
            LayerFacts(name, trial.allocation[name], mine, mine / total if total else 0.0, costs, shares, tuple(filter(None, found)))
        )
    return Explained(trial, limits, tuple(sorted(layers, key=lambda one: -one.loss)))


def _indices(table: CostTable, trial: TrialResult) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    assert trial.allocation is not None  # checked before
    column = {option: j for j, option in enumerate(table.options)}
    return np.array([column[trial.allocation[name]] for name in table.layers], np.intp)


def _next(table: CostTable, widths: BitWidths) -> list[BitWidths]:
    """One step up and down in weights, then in activations."""
    found = []
    for part, other in (("weight", "activation"), ("activation", "weight")):
        same = sorted({getattr(o, part) for o in table.options if getattr(o, other) == getattr(widths, other)})
        here = same.index(getattr(widths, part))
        for step in (here - 1, here + 1):
            if 0 <= step < len(same):
                found.append(BitWidths(**{part: same[step], other: getattr(widths, other)}))
    return found


def _alternative(
    loss: CostTable, tables: Mapping[str, CostTable], trial: TrialResult, limits: tuple[Limit, ...], layer: int, option: BitWidths
) -> Alternative | None:
    def changed(table: CostTable) -> tuple[float, float]:
        """(total now, total with the layer at the option)."""
        before = _indices(table, trial)
        after = before.copy()
        after[table.layers.index(loss.layers[layer])] = table.options.index(option)
        now, then = table.totals(np.stack([before, after]))
        return float(now), float(then)

    now, then = changed(loss)
    if not np.isfinite(then):
        return None  # the layer is pinned: its loss was never asked for there
    pairs = {key: changed(table) for key, table in tables.items()}
    held = [limit.holds(pairs[limit.metric.key][1]) for limit in limits if limit.metric.key in pairs]
    return Alternative(option, then - now, {key: b - a for key, (a, b) in pairs.items()}, all(held) if held else None)
