"""What a sweep runs: ``hwdse.sweep/1``, a TOML file or the same from Python. Validated, with the key named in every error."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from hwdse.errors import FileFormatError, UsageError
from hwdse.formats import LayerFormat, grid, parse_options
from hwdse.reading import read_text, toml_table

SWEEP_SCHEMA = "hwdse.sweep/1"
# strict: a text or a truth value is no number
Width = Annotated[int, Field(strict=True, ge=2, le=16)]
Count = Annotated[int, Field(strict=True, ge=1, le=10**6)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class SweepConfig(BaseModel):
    """One sweep.

    Attributes:
        task: built-in name or ``package.module:Class``.
        accelerators: names or paths of accelerator files.
        cost_models: hardware-independent metrics beside those of the accelerators.
        budgets: each a list of texts that hold together; every budget is tried on every accelerator whose metrics it names.
        allocators: which to use; uniform baselines are added by ``baselines``.
        baselines: uniform widths that are always measured, ``"w4a4"``.
        trials: in all, baselines and solver seeds included.
        epochs: numbers of fine-tuning epochs to choose from; 0 is post-training.
        baseline_epochs: of the uniform baselines; None: the largest of ``epochs``, so that the comparison is at equal training.
        ladder: limits per budget, from its own down to the least that can be met, at which the solver's solution is measured first.
        promote: share of the search's proposals that are trained, by their score without training; 1 trains all.
        refine: share of the trials, the last ones, that change one or two layers of a point on the front.
        patience: stop when so many trials in a row have won less than a thousandth of hypervolume; None: never before ``trials``.
        tightness: range by which the sampler may scale a budget's limits; 1 is the budget itself.
        objective: cost metrics (one or two) that the sampler trades against the score; None: the first metric of each budget.
        sampler: ``tpe``, ``random`` or ``nsgaii``.
        sensitivity: method behind the loss table.
        formats: what is chosen from, ``"int2..int8, mxfp4"``; None: every pair of ``weights`` and ``activations``, in bits.
        quantizers: ``WEIGHT+ACTIVATION@RANGES``, as ``lsq_channel+lsq@mse``; None: each allocator's own.
        rounding: of weights in post-training trials, ``adaptive`` (with bias correction) or ``nearest``.
        decode: tokens in the cache, where latency, energy and bit operations shall be those of generating a token; None: as traced.
        device: where networks are trained and scored, ``cpu`` or ``cuda``.
        keep_checkpoints: ``front``: those of the fronts, the baselines and the best inside each budget; ``all``; or ``none`` once the
            sweep has ended.
        seed: of everything.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal["hwdse.sweep/1"] = Field(default="hwdse.sweep/1", alias="schema")
    task: str
    accelerators: tuple[str, ...] = ()
    cost_models: tuple[str, ...] = ("bitops", "weights", "activations", "average_bits")
    budgets: tuple[tuple[str, ...], ...] = Field(min_length=1)
    allocators: tuple[str, ...] = Field(default=("qbitopt", "adaqat", "adq"), min_length=1)
    baselines: tuple[str, ...] = ("w8a8", "w6a6", "w4a4", "w3a3", "w2a2")
    trials: Count = 40
    epochs: tuple[Annotated[int, Field(strict=True, ge=0, le=10**6)], ...] = Field(default=(0, 5), min_length=1)
    baseline_epochs: Annotated[int, Field(strict=True, ge=0, le=10**6)] | None = None
    tightness: tuple[Number, Number] = (0.5, 1.0)
    ladder: Annotated[int, Field(strict=True, ge=1, le=100)] = 3
    promote: Number = Field(default=0.5, gt=0, le=1)
    refine: Number = Field(default=0.2, ge=0, le=1)
    patience: Count | None = None
    objective: tuple[str, ...] | None = Field(default=None, min_length=1, max_length=2)
    sampler: str = "tpe"
    sensitivity: str = "fit"
    formats: str | None = None
    weights: tuple[Width, ...] = Field(default=(2, 3, 4, 5, 6, 7, 8), min_length=1)
    activations: tuple[Width, ...] = Field(default=(2, 3, 4, 5, 6, 7, 8), min_length=1)
    quantizers: str | None = None
    rounding: Literal["adaptive", "nearest"] = "adaptive"
    decode: Count | None = None
    device: str = "cpu"
    keep_checkpoints: Literal["front", "all", "none"] = "front"
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**32)] = 0

    @field_validator("quantizers")
    @classmethod
    def _scheme(cls, value: str | None) -> str | None:
        from hwdse.quantizers import Scheme  # brings torch

        return None if value is None else str(Scheme.parse(value))

    @field_validator("formats")
    @classmethod
    def _listed(cls, value: str | None) -> str | None:
        if value is not None:
            parse_options(value)
        return value

    @property
    def options(self) -> tuple[LayerFormat, ...]:
        """What is chosen from."""
        return grid(self.weights, self.activations) if self.formats is None else parse_options(self.formats)

    @field_validator("budgets", mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        """A budget of one text may be written without the inner list."""
        return [[one] if isinstance(one, str) else one for one in value] if isinstance(value, list | tuple) else value

    @field_validator("baselines")
    @classmethod
    def _widths(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(LayerFormat.parse(text)) for text in value)

    @field_validator("tightness")
    @classmethod
    def _range(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1] <= 1:
            raise ValueError("must be [low, high] with 0 < low <= high <= 1")
        return value

    @classmethod
    def make(cls, file: object = "sweep", **values: Any) -> SweepConfig:
        """From plain values.

        Raises:
            FileFormatError: names the key, what was expected and what was got, or the known keys where one is unknown.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            raise _explained(error, file) from None
        except UsageError as error:
            raise FileFormatError(file, str(error)) from None

    @classmethod
    def load(cls, path: Path, **overrides: Any) -> SweepConfig:
        """From a TOML file; ``overrides`` replace its keys.

        Raises:
            FileFormatError: not TOML, no schema, or see :meth:`make`.
        """
        if not path.exists():
            raise UsageError(f"there is no file {path}.")
        data = toml_table(path, read_text(path))
        if data.get("schema") != SWEEP_SCHEMA:
            raise FileFormatError(path, f"must be '{SWEEP_SCHEMA}', got {_short(data.get('schema'))}.", "key 'schema'")
        return cls.make(path, **{**data, **overrides})

    def plain(self) -> dict[str, Any]:
        """JSON-able, for the record."""
        return self.model_dump(mode="json", by_alias=True)


def _explained(error: ValidationError, file: object) -> FileFormatError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        import difflib

        known = sorted("schema" if name == "schema_" else name for name in SweepConfig.model_fields)
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        return FileFormatError(file, f"is not a key of a sweep{hint} Known keys: {', '.join(known)}.", f"key '{key}'")
    if first["type"] == "missing":
        return FileFormatError(file, "is missing.", f"key '{key}'")
    return FileFormatError(file, f"{first['msg'].removeprefix('Value error, ')}; got {_short(first['input'])}.", f"key '{key}'")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
