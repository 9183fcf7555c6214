"""Why a layer has its widths: what it is expected to lose and what it costs, beside the next widths up and down that it may take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..choices import Choices
from ..costs import CostTable
from ..errors import UnknownName, UsageError
from ..formats import Allocation, LayerFormat
from ..records import SweepRecord, TrialResult
from .limits import Limit, budget_limits, budget_of, inside, trial_limits


@dataclass(frozen=True)
class Alternative:
    """One layer at other widths, all else as it is, but for the layers that are tied to it.

    Attributes:
        widths: the layer's. along: layers that move with it, as they share the width that changes.
        loss: change of the expected loss of the network, nats. costs: metric key -> change, in stored units.
        inside: whether the trial's budget still holds; None where it has none.
    """

    widths: LayerFormat
    loss: float
    costs: Mapping[str, float]
    inside: bool | None
    along: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayerFacts:
    """One layer of a trial.

    Attributes:
        layer, widths: what was chosen.
        loss, share: its expected loss in nats, and as a share of the network's.
        costs, shares: metric key -> its cost, and as a share of the network's largest row, fixed parts included.
        alternatives: the next width up and down, of weights and of activations, as far as the run's choices, or else the tables, go.
    """

    layer: str
    widths: LayerFormat
    loss: float
    share: float
    costs: Mapping[str, float]
    shares: Mapping[str, float]
    alternatives: tuple[Alternative, ...]


@dataclass(frozen=True)
class Explained:
    """A trial, layer by layer; the layer that is expected to lose most first.

    Attributes:
        limits: of the budget that it was made under. aimed: what the search aimed at below these, empty where at these.
        budgets: those of the sweep that it meets, whatever it was made under.
        notes: what must be said of the loss table.
    """

    trial: TrialResult
    limits: tuple[Limit, ...]
    layers: tuple[LayerFacts, ...]
    budgets: tuple[tuple[Limit, ...], ...] = ()
    notes: tuple[str, ...] = ()
    aimed: tuple[Limit, ...] = ()


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
            f"trial {number} has formats whose tables are not in the run folder yet. They are written when the sweep ends (the same hwdse "
            "sweep command goes on). Or explain another trial."
        )
    limits = budget_limits(record, budget_of(trial)) or ()
    aimed = trial_limits(record, trial) or ()
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
        found = [_alternative(loss, tables, trial, limits, name, moved) for moved in _steps(record.choices, loss, trial.allocation, name)]
        layers.append(
            LayerFacts(name, trial.allocation[name], mine, mine / total if total else 0.0, costs, shares, tuple(filter(None, found)))
        )
    resolved = [its for budget in record.budgets if (its := budget_limits(record, budget))]
    meets = tuple(b for b in resolved if inside(trial, b))
    return Explained(trial, limits, tuple(sorted(layers, key=lambda one: -one.loss)), meets, loss.said, () if aimed == limits else aimed)


def _indices(table: CostTable, trial: TrialResult) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    assert trial.allocation is not None  # checked before
    column = {option: j for j, option in enumerate(table.options)}
    return np.array([column[trial.allocation[name]] for name in table.layers], np.intp)


def _steps(choices: Choices | None, table: CostTable, allocation: Allocation, name: str) -> list[dict[str, LayerFormat]]:
    """What changes, layer by layer, where one layer takes one step up or down in weights, then in activations.

    Only to widths that every layer which moves may take. Where a layer may take no other weight at its activation, or the reverse, one
    step of both.
    """
    options = [o for o in table.options if o != allocation[name]]
    moves = {option: _moved(choices, table, allocation, name, option) for option in options}
    open_ = [option for option in options if moves[option] is not None]
    here = allocation[name]
    found = []
    for other in ("activation", "weight"):
        same = [o for o in open_ if getattr(o, other) == getattr(here, other)]
        found += sorted((o for o in same if o != here and here.refines(o)), key=lambda o: -stored_bits(o))[:1]
        found += sorted((o for o in same if o != here and o.refines(here)), key=stored_bits)[:1]
    if choices is not None:
        narrower = [o for o in open_ if here.refines(o) and o.weight != here.weight and o.activation != here.activation]
        wider = [o for o in open_ if o.refines(here) and o.weight != here.weight and o.activation != here.activation]
        if not any(here.refines(o) for o in found):
            found += sorted(narrower, key=lambda o: -stored_bits(o))[:1]
        if not any(o.refines(here) for o in found):
            found += sorted(wider, key=stored_bits)[:1]
    return [moved for moved in map(moves.get, found) if moved is not None]


def stored_bits(formats: LayerFormat) -> float:
    """Bits of an element of the weights and of one of the input together, for showing steps in order."""
    return formats.weight.stored_bits + formats.activation.stored_bits


def _moved(
    choices: Choices | None, table: CostTable, allocation: Allocation, name: str, option: LayerFormat
) -> dict[str, LayerFormat] | None:
    """The layer at the option and the layers tied to it at the shared width; None where one of them may not take it."""
    if choices is None:
        return {name: option}
    moved = {name: option}
    for part, ties in (("weight", choices.weight_ties), ("activation", choices.activation_ties)):
        if getattr(option, part) != getattr(allocation[name], part):
            for member in _tied(ties, name):
                moved[member] = replace(moved.get(member, allocation[member]), **{part: getattr(option, part)})
    allowed = all(w in choices.column and choices.allowed[choices.position[n], choices.column[w]] for n, w in moved.items())
    return moved if allowed and all(w in table.options for w in moved.values()) else None


def _tied(ties: Sequence[tuple[str, ...]], name: str) -> list[str]:
    """The layers that share a width with one, through others too; itself not."""
    group = {name}
    while any(group & set(tie) and not set(tie) <= group for tie in ties):
        group |= {n for tie in ties if group & set(tie) for n in tie}
    return sorted(group - {name})


def _alternative(
    loss: CostTable,
    tables: Mapping[str, CostTable],
    trial: TrialResult,
    limits: tuple[Limit, ...],
    name: str,
    moved: Mapping[str, LayerFormat],
) -> Alternative | None:
    def changed(table: CostTable) -> tuple[float, float]:
        """(total now, total with what moves moved)."""
        before = _indices(table, trial)
        after = before.copy()
        for layer, option in moved.items():
            after[table.layers.index(layer)] = table.options.index(option)
        now, then = table.totals(np.stack([before, after]))
        return float(now), float(then)

    now, then = changed(loss)
    if not np.isfinite(then):
        return None  # the layer is pinned: its loss was never asked for there
    pairs = {key: changed(table) for key, table in tables.items()}
    held = [limit.holds(pairs[limit.metric.key][1]) for limit in limits if limit.metric.key in pairs]
    along = tuple(n for n in loss.layers if n in moved and n != name)
    return Alternative(moved[name], then - now, {key: b - a for key, (a, b) in pairs.items()}, all(held) if held else None, along)
