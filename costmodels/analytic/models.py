"""From the keys of an accelerator file to its analytic models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...bits import BitWidths
from ...errors import UnknownName, UsageError
from .bit_fusion import BitFusion
from .energy import DRAM_PJ_PER_BIT, Horowitz45nm, Level, sram_pj_per_bit
from .macs_per_cycle import MacsPerCycle
from .power import ConstantPower
from .protocol import ComputeModel, EnergyModel
from .rates import Rates
from .roofline import Roofline

if TYPE_CHECKING:
    from ..accelerator_format import AcceleratorKeys, Memory


def compute_model(keys: AcceleratorKeys) -> ComputeModel | None:
    """The analytic model of time; None where the file has none.

    Raises:
        UsageError: keys that the model needs and the file lacks.
    """
    compute = keys.compute
    if compute is None:
        return None
    if compute.model == "roofline":
        return Roofline(
            _rates(compute.macs_per_s),
            _bandwidth(keys, compute.memory),
            keys.precision.output_bits,
            {str(op): share for op, share in compute.efficiency.items()},
        )
    if compute.model == "macs_per_cycle":
        return MacsPerCycle(_rates(compute.macs_per_cycle), _clock(keys, compute.model))
    return BitFusion(
        compute.rows, compute.columns, compute.max_bits, compute.min_bits, _clock(keys, compute.model), compute.interface_bits,
        keys.precision.output_bits,
    )  # fmt: skip


def energy_model(keys: AcceleratorKeys) -> EnergyModel | None:
    """The analytic model of energy; None where the file has none.

    Raises:
        UsageError: no memory level says what moving a bit costs, or one without the size its formula needs.
    """
    if keys.energy is None:
        return None
    if keys.energy.model == "power":
        time = compute_model(keys)
        if time is None:
            raise UsageError("'power' needs the time: add [compute].")
        return ConstantPower(keys.energy.watts, time)
    levels = tuple(
        Level(level.name, _pj_per_bit(level), level.macs_per_fetch or 0.0) for level in keys.memory if level.pj_per_bit is not None
    )
    if not levels:
        raise UsageError("needs a [[memory]] level with pj_per_bit: without one, moving data would cost nothing.")
    return Horowitz45nm(levels, keys.precision.output_bits, keys.precision.accumulator_bits)


def _rates(listed: Mapping[str, float]) -> Rates:
    return Rates({BitWidths.parse(pair): rate for pair, rate in listed.items()})


def _clock(keys: AcceleratorKeys, model: str) -> float:
    if keys.clock is None:
        raise UsageError(f"'{model}' needs the clock: add [clock] hz.")
    return keys.clock.hz


def _bandwidth(keys: AcceleratorKeys, name: str) -> float:
    levels = {level.name: level for level in keys.memory}
    if name not in levels:
        raise UnknownName("memory level", name, levels)
    bandwidth = levels[name].bytes_per_s
    if bandwidth is None:
        raise UsageError(f"memory level '{name}' needs bytes_per_s, because operands come from it.")
    return bandwidth


def _pj_per_bit(level: Memory) -> float:
    if level.pj_per_bit == "horowitz_dram":
        return DRAM_PJ_PER_BIT
    if level.pj_per_bit == "horowitz_sram":
        if level.bytes is None:
            raise UsageError(f"memory level '{level.name}' needs bytes: the SRAM formula works from the size.")
        return sram_pj_per_bit(level.bytes)
    assert isinstance(level.pj_per_bit, float)  # None was left out by the caller
    return level.pj_per_bit
