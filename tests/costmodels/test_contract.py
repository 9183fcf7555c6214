"""Every cost model and every shipped accelerator passes the contract."""

from __future__ import annotations

from hwdse.costmodels import COST_MODELS, accelerator_names, cost_model, load_accelerator
from hwdse.costs import CostModel
from hwdse.testing import CostModelContract


def case(name: str, make, monotone: bool) -> type[CostModelContract]:
    class Case(CostModelContract):
        def model(self) -> CostModel:
            return make()

    Case.monotone, Case.__name__, Case.__qualname__ = monotone, name, name
    return Case


for _name in COST_MODELS:
    globals()[f"Test_{_name}"] = case(f"Test_{_name}", lambda name=_name: cost_model(name), monotone=True)
for _name in accelerator_names():
    for _model in load_accelerator(_name).cost_models():
        _case = f"Test_{_name}_{_model.metric.name}"
        # measured tables are not monotone, nor are the published rates of mpic
        _monotone = _model.metric.name == "weights" or _name == "npu"
        globals()[_case] = case(_case, lambda model=_model: model, _monotone)
