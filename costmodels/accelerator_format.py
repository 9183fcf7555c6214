"""The keys of an accelerator file, ``hwdse.accelerator/1``: names, types, ranges, units.

The descriptions below are what error messages and ``docs/accelerator-files.md`` say. Imported only when a file is read,
because pydantic takes time to load.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from ..errors import UsageError
from ..formats import LayerFormat, NumberFormat
from .signature import Op

SCHEMA = "hwdse.accelerator/1"

LARGEST = 1e30  # no quantity of a device is beyond it, or below its inverse; products of a few of them stay finite and above 0


def _of_a_device(value: float) -> float:
    if value and not 1 / LARGEST <= value <= LARGEST:
        raise PydanticCustomError("of_a_device", "Input should be between 1e-30 and 1e30")
    return value


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), AfterValidator(_of_a_device)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), AfterValidator(_of_a_device)]
Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False), AfterValidator(_of_a_device)]
Count = Annotated[int, Field(ge=1, le=2**31)]
Width = Annotated[int, Field(ge=1, le=32)]
Widths = Annotated[list[Width], Field(min_length=1)]
_FORMAT = r"[a-z][a-z0-9]*(\.[a-z0-9]+)?"
_PAIR = r"w([1-9]|[12][0-9]|3[0-2])a([1-9]|[12][0-9]|3[0-2])"


def _layer_format(text: str) -> str:
    try:
        return str(LayerFormat.parse(text))
    except UsageError as error:
        raise PydanticCustomError("layer_format", "must be a pair of formats: {problem}", {"problem": str(error)}) from None


def _number_format(text: str) -> str:
    try:
        return str(NumberFormat.parse(text))
    except UsageError as error:
        raise PydanticCustomError("number_format", "must be a format: {problem}", {"problem": str(error)}) from None


PairText = Annotated[str, Field(pattern=rf"^({_PAIR}|{_FORMAT}(:{_FORMAT})?)$"), AfterValidator(_layer_format)]
FormatText = Annotated[str, Field(pattern=rf"^{_FORMAT}$"), AfterValidator(_number_format)]
RatesTable = Annotated[dict[PairText, Positive], Field(min_length=1)]


class Keys(BaseModel):
    """Base: no unknown keys, no silent conversion."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Provenance(Keys):
    """Where the numbers come from. Printed in reports."""

    kind: Literal["measured", "simulated", "analytic", "datasheet"] = Field(description="how the numbers were obtained")
    tool: str = Field(default="", description="program that produced them, with its version")
    device: str = Field(default="", description="the device, board or configuration")
    source: str = Field(description="paper, repository or data sheet")
    licence: str = Field(default="", description="licence of the numbers")
    date: str = Field(default="", description="when they were obtained, in quotes")
    notes: list[str] = Field(default_factory=list, description="assumptions and gaps, a sentence each; printed with every cost")


class Clock(Keys):
    """Clock of the compute units."""

    hz: Positive = Field(description="clock in Hz")


class CannotRun(Keys):
    """Widths that the device cannot run for some operations: infinite cost, never chosen."""

    op: Op = Field(description="operation")
    kernel: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list, description="kernel heights; empty for all")
    weights: list[Width] = Field(default_factory=list, description="weight widths in bits; empty for all")
    activations: list[Width] = Field(default_factory=list, description="activation widths in bits; empty for all")


class PrecisionKeys(Keys):
    """Which widths the device runs."""

    semantics: Literal["native", "fusion", "bit_serial", "storage_only"] = Field(description="what a narrower width does")
    weights: Widths = Field(description="weight widths in bits, a list")
    activations: Widths = Field(description="activation widths in bits, a list")
    pairs: Literal["any", "equal", "w_le_a"] | list[PairText] = Field(
        default="any", description="which combinations: 'any', 'equal', 'w_le_a', or a list such as ['w4a8', 'w8a8']"
    )
    unsupported: Literal["round_up", "error"] = Field(default="round_up", description="what other widths do")
    native: list[PairText] = Field(
        default_factory=list, description="formats that it runs beside these widths, such as ['mxfp4:mxfp8', 'nvfp4:nvfp4']"
    )
    promote: dict[FormatText, FormatText] = Field(
        default_factory=dict, description="format of an operand -> the format in which it runs instead, {mxfp4 = 'mxfp8'}"
    )
    accumulator_bits: Annotated[int, Field(ge=1, le=128)] = Field(default=32, description="width of partial sums in bits")
    output_bits: Width = Field(default=8, description="width at which a layer's output is written, in bits")
    codebooks: bool = Field(default=False, description="whether weights may be indices into a table of values")
    other: PairText = Field(default="w8a8", description="widths of layers that none are chosen for, such as attention")
    cannot_run: list[CannotRun] = Field(default_factory=list, description="exceptions by operation")


class Storage(Keys):
    """How weights are packed."""

    packing: Annotated[str, Field(pattern=r"^(dense|byte|pow2|align=[1-9][0-9]{0,8})$")] = Field(
        default="dense", description="'dense', 'byte', 'pow2' or 'align=N' bytes"
    )
    widths: Literal["executed", "chosen"] = Field(
        default="executed",
        description="whether weights are stored at the width they run at (as traffic is counted), or at the chosen one",
    )
    scale_bits: Annotated[int, Field(ge=0, le=32)] = Field(default=32, description="bits of a scale")
    zero_point_bits: Annotated[int, Field(ge=0, le=32)] = Field(default=0, description="bits of a zero point")
    per: Annotated[str, Field(pattern=r"^(tensor|channel|group=[1-9][0-9]{0,8})$")] = Field(
        default="channel", description="'tensor', 'channel' or 'group=N' weights"
    )
    bias_bits: Annotated[int, Field(ge=0, le=32)] = Field(default=32, description="bits of a bias element")
    float_bits: Width = Field(default=32, description="bits of weights that no width is chosen for")


class Memory(Keys):
    """One level of memory, innermost first."""

    name: str = Field(description="name of the level")
    bytes: Positive | None = Field(default=None, description="size in bytes")
    bytes_per_s: Positive | None = Field(default=None, description="bandwidth in bytes a second")
    pj_per_bit: Positive | Literal["horowitz_sram", "horowitz_dram"] | None = Field(
        default=None, description="energy in picojoules a bit, or 'horowitz_sram' (45 nm, from the size), 'horowitz_dram'"
    )
    macs_per_fetch: Positive | None = Field(
        default=None, description="MACs that one fetched operand serves; without it every operand moves once"
    )


class RooflineKeys(Keys):
    """The longer of arithmetic and memory traffic (costmodels/analytic/roofline.py)."""

    model: Literal["roofline"]
    macs_per_s: RatesTable = Field(description="peak multiply-accumulates a second of each pair, {w8a8 = 1e12}")
    efficiency: dict[Op | Literal["default"], Share] = Field(
        default_factory=dict, description="share of the peak that an operation reaches, by operation; 'default' for the rest"
    )
    memory: str = Field(description="name of the memory level that operands come from")


class MacsPerCycleKeys(Keys):
    """Measured multiply-accumulates per cycle (costmodels/analytic/macs_per_cycle.py)."""

    model: Literal["macs_per_cycle"]
    macs_per_cycle: RatesTable = Field(description="multiply-accumulates a cycle of each pair, {w8a8 = 2.1}")


class BitFusionKeys(Keys):
    """An array of fusible units (costmodels/analytic/bit_fusion.py)."""

    model: Literal["bit_fusion"]
    rows: Count = Field(description="rows N of the array")
    columns: Count = Field(description="columns M of the array")
    max_bits: Width = Field(default=8, description="widest operand of a unit in bits")
    min_bits: Width = Field(default=2, description="narrowest operand of a unit in bits")
    interface_bits: Positive = Field(description="bits a cycle from the memory outside")
    weight_buffer: Positive = Field(description="buffer of weights in bytes; half of it is worked on, half being filled, here and below")
    input_buffer: Positive = Field(description="buffer of inputs in bytes")
    output_buffer: Positive = Field(description="buffer of outputs in bytes")
    sum_bits: Width = Field(default=32, description="width at which partial sums and outputs are written, in bits")
    unrolled: Annotated[int, Field(ge=0)] = Field(
        default=3, description="convolutions with at most this many input channels are unrolled (im2col); 0 for none"
    )
    memory: str = Field(default="dram", description="name of the memory level outside")


class SystolicKeys(Keys):
    """A systolic array (costmodels/analytic/systolic.py)."""

    model: Literal["systolic"]
    rows: Count = Field(description="rows R of the array")
    columns: Count = Field(description="columns C of the array")
    dataflow: Literal["weight_stationary", "input_stationary", "output_stationary"] = Field(description="which operand stays in the array")
    macs_per_unit: RatesTable = Field(
        default_factory=lambda: {"w32a32": 1.0},
        description="products that one unit sums in a cycle, by pair, {w8a8 = 1, w4a4 = 2}; the default is 1 at all widths",
    )
    memory: str = Field(description="name of the memory level that operands come from")


class BitSerialKeys(Keys):
    """A bit-serial array (costmodels/analytic/bit_serial.py)."""

    model: Literal["bit_serial"]
    rows: Count = Field(description="Dm, output positions at a time")
    columns: Count = Field(description="Dn, output channels at a time")
    depth: Count = Field(description="Dk, bits of each operand that one dot product takes in a cycle")
    memory: str = Field(description="name of the memory level that operands come from")


class Folding(Keys):
    """How wide a layer's unit is."""

    pe: Count = Field(description="outputs at a time")
    simd: Count = Field(description="inputs at a time")


class PipelinedKeys(Keys):
    """A unit for each layer (costmodels/analytic/pipelined.py): interval@NAME is the slowest layer's time, latency@NAME the sum."""

    model: Literal["pipelined"]
    folding: dict[Op | Literal["default"], Folding] = Field(
        description="unit of each operation, {default = {pe = 16, simd = 16}, depthwise = {pe = 16, simd = 9}}; 'default' is required"
    )
    macs_per_unit: RatesTable = Field(
        default_factory=lambda: {"w32a32": 1.0}, description="products that one multiplier makes in a cycle, by pair"
    )


class HorowitzKeys(Keys):
    """45 nm arithmetic (costmodels/analytic/energy.py); the memories' pj_per_bit are the other half."""

    model: Literal["horowitz_45nm"]


class EnergyKeys(Keys):
    """Energy of a multiply-accumulate as stated (costmodels/analytic/energy.py); the memories' pj_per_bit are the other half."""

    model: Literal["explicit"]
    mac_pj: RatesTable = Field(description="picojoules of a multiply-accumulate by pair, {w8a8 = 0.25}; others at the next wider pair")


class PowerKeys(Keys):
    """The same power whatever runs (costmodels/analytic/power.py)."""

    model: Literal["power"]
    watts: Positive = Field(description="power in W")


class Overheads(Keys):
    """Time that no formula or table row holds."""

    layer_s: NotNegative = Field(default=0.0, description="seconds added to every layer")
    network_s: NotNegative = Field(default=0.0, description="seconds added once per network")
    least_s: NotNegative = Field(
        default=0.0, description="least seconds of a layer that is estimated by the analytic model, such as the launch of a kernel"
    )


class Calibration(Keys):
    """End-to-end time from the sum over layers: ``t = offset_s + scale · sum``."""

    offset_s: NotNegative = Field(default=0.0, description="a, in seconds")
    scale: Positive = Field(default=1.0, description="b, without unit")
    error: NotNegative | None = Field(default=None, description="leave-one-out error, relative (0.01 = 1 %)")
    networks: Annotated[int, Field(ge=0)] = Field(default=0, description="networks it was fitted on")
    note: str = Field(default="", description="what was fitted on what; printed with every latency")


class ConversionKeys(Keys):
    """Where a tensor goes on to a layer that runs at another activation width (costmodels/conversions.py). Without it, nothing."""

    s: NotNegative = Field(default=0.0, description="seconds of each conversion, whatever its size, such as the launch of a kernel")
    elements_per_s: Positive | None = Field(default=None, description="elements converted a second; without it, size takes no time")
    pj_per_element: NotNegative = Field(default=0.0, description="energy in picojoules an element")


class LookupTable(Keys):
    """A look-up table of schema hwdse.table/1."""

    file: str = Field(description="path of the CSV file, relative to this file")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="SHA-256 of the CSV file, 64 hex digits"
    )


class AcceleratorKeys(Keys):
    """The whole file."""

    schema_: Literal["hwdse.accelerator/1"] = Field(alias="schema", description="must be 'hwdse.accelerator/1'")
    name: Annotated[str, Field(pattern=r"^[A-Za-z][\w.\-]*$")] = Field(description="short name, as in latency@name")
    description: str = Field(default="", description="one sentence")
    provenance: Provenance = Field(description="where the numbers come from")
    clock: Clock | None = Field(default=None, description="needed by tables in cycles and by cycle models")
    precision: PrecisionKeys = Field(description="which widths the device runs")
    storage: Storage = Field(default_factory=Storage, description="how weights are packed")
    compute: (
        Annotated[
            RooflineKeys | MacsPerCycleKeys | BitFusionKeys | SystolicKeys | BitSerialKeys | PipelinedKeys, Field(discriminator="model")
        ]
        | None
    ) = Field(default=None, description="analytic model of time")
    memory: list[Memory] = Field(default_factory=list, description="memory levels, innermost first")
    energy: Annotated[HorowitzKeys | EnergyKeys | PowerKeys, Field(discriminator="model")] | None = Field(
        default=None, description="analytic model of energy"
    )
    overheads: Overheads = Field(default_factory=Overheads, description="time beside the layers")
    calibration: Calibration = Field(default_factory=Calibration, description="end-to-end against the sum over layers")
    conversion: ConversionKeys | None = Field(default=None, description="what changing the width of a tensor costs")
    table: list[LookupTable] = Field(default_factory=list, description="look-up tables")
    missing: Literal["error", "analytic"] = Field(
        default="error",
        description="what happens where neither the tables nor the analytic model scaled by them has an answer",
    )
