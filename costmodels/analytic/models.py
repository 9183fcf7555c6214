"""From the keys of an accelerator file to its analytic models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...errors import UnknownName, UsageError
from ...formats import LayerFormat
from .bit_fusion import BitFusion
from .bit_serial import BitSerial
from .energy import DRAM_PJ_PER_BIT, Horowitz45nm, Level, Moved, Stated, sram_pj_per_bit
from .macs_per_cycle import MacsPerCycle
from .pipelined import Pipelined
from .power import ConstantPower
from .protocol import ComputeModel, EnergyModel
from .rates import Rates
from .roofline import Roofline
from .systolic import Systolic
from .tiling import Buffers
from .traffic import Interface

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
        shares = {str(op): share for op, share in compute.efficiency.items()}
        return Roofline(_rates(compute.macs_per_s), _interface(keys, compute.memory), shares)
    clock = _clock(keys, compute.model)
    if compute.model == "macs_per_cycle":
        return MacsPerCycle(_rates(compute.macs_per_cycle), clock)
    if compute.model == "systolic":
        memory = _interface(keys, compute.memory)
        return Systolic(compute.rows, compute.columns, compute.dataflow, clock, _rates(compute.macs_per_unit), memory)
    if compute.model == "bit_serial":
        return BitSerial(compute.rows, compute.columns, compute.depth, clock, _interface(keys, compute.memory))
    if compute.model == "pipelined":
        if "default" not in compute.folding:
            raise UsageError("'pipelined' needs the unit of operations that are not named: add folding.default = {pe = ..., simd = ...}.")
        units = {str(op): (unit.pe, unit.simd) for op, unit in compute.folding.items()}
        return Pipelined(units, clock, _rates(compute.macs_per_unit))
    return BitFusion(
        compute.rows, compute.columns, compute.max_bits, compute.min_bits, clock, compute.interface_bits,
        Buffers(compute.weight_buffer, compute.input_buffer, compute.output_buffer), compute.sum_bits, compute.unrolled, compute.memory,
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
    arithmetic = Stated(_rates(keys.energy.mac_pj)) if keys.energy.model == "explicit" else Horowitz45nm(keys.precision.accumulator_bits)
    return Moved(arithmetic, levels, keys.precision.output_bits, compute_model(keys))


def _rates(listed: Mapping[str, float]) -> Rates:
    return Rates({LayerFormat.parse(pair): rate for pair, rate in listed.items()})


def _clock(keys: AcceleratorKeys, model: str) -> float:
    if keys.clock is None:
        raise UsageError(f"'{model}' needs the clock: add [clock] hz.")
    return keys.clock.hz


def _interface(keys: AcceleratorKeys, name: str) -> Interface:
    levels = {level.name: level for level in keys.memory}
    if name not in levels:
        raise UnknownName("memory level", name, levels)
    bandwidth = levels[name].bytes_per_s
    if bandwidth is None:
        raise UsageError(f"memory level '{name}' needs bytes_per_s, because operands come from it.")
    storage = keys.storage
    group = int(storage.per.partition("=")[2] or 0)  # scales per tensor or channel are a negligible part of the traffic
    beside = (storage.scale_bits + storage.zero_point_bits) / group if group else 0.0
    return Interface(name, bandwidth, keys.precision.output_bits, beside)


def _pj_per_bit(level: Memory) -> float:
    if level.pj_per_bit == "horowitz_dram":
        return DRAM_PJ_PER_BIT
    if level.pj_per_bit == "horowitz_sram":
        if level.bytes is None:
            raise UsageError(f"memory level '{level.name}' needs bytes: the SRAM formula works from the size.")
        return sram_pj_per_bit(level.bytes)
    assert isinstance(level.pj_per_bit, float)  # None was left out by the caller
    return level.pj_per_bit
