"""Which sensitivity metric finds the best widths? Every method that hwdse knows allocates the same budget, before any training.

Each is scored post-training, where the widths are all that differs, and after fine-tuning, which makes up for some of it.

    python examples/studies/sensitivities.py [TASK] [--seeds N] [--epochs E] [--output results.csv]
"""

from __future__ import annotations

from functools import partial

from study import Case, arguments, study

from hwdse.allocators import QBitOpt, Uniform
from hwdse.formats import LayerFormat
from hwdse.registry import names
from hwdse.sensitivity import GROUP, SENSITIVITIES


def cases() -> dict[str, Case]:
    """Uniform widths, and every method by name, plug-ins included."""
    made = {}
    for at, epochs, when in (("w4a4", 0, "post-training"), ("w3a3", 0, "post-training"), ("w3a3", None, "fine-tuned")):
        budget = (f"average_bits <= 100% of {at}",)
        made[f"{at} {when}: uniform"] = Case(partial(Uniform, LayerFormat.parse(at)), budget, epochs=epochs)
        for method in names(SENSITIVITIES, GROUP):
            made[f"{at} {when}: {method}"] = Case(partial(QBitOpt, reallocate=False), budget, method=method, epochs=epochs)
    return made


if __name__ == "__main__":
    study(cases(), arguments(__doc__, epochs=2))
