"""Who owns an operation: the module that was really called, and the parameter behind a weight operand."""

from __future__ import annotations

from torch import Tensor, nn
from torch.fx import Node

Frame = tuple[str, str]  # key of one call of a module, path of the module

_QUANTISABLE = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
    nn.Embedding,
)

# Methods that hand their input to the operation as it is: what the last forward pre-hook returns is what the layer reads.
_STOCK_FORWARDS = frozenset(kind.forward for kind in _QUANTISABLE)
_STOCK_CONVOLUTIONS = frozenset(kind._conv_forward for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d))


def _stock(module: nn.Module) -> bool:
    kind = type(module)
    inner = getattr(kind, "_conv_forward", None)
    return kind.forward in _STOCK_FORWARDS and (inner is None or inner in _STOCK_CONVOLUTIONS)


def quantisable_module(module: nn.Module) -> bool:
    """Whether the module has one ``weight`` and one input that can be given bit-widths."""
    return isinstance(module, _QUANTISABLE)


class Owners:
    """Paths of a model's modules and parameters, each known under its first name (as ``named_parameters`` gives it)."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._paths: dict[int, str] = {id(module): path for path, module in model.named_modules()}
        tensors: list[tuple[str, Tensor]] = [*model.named_parameters(), *model.named_buffers()]
        self._names: dict[int, str] = {id(tensor): name for name, tensor in tensors}

    def canonical(self, name: str) -> str:
        """The first name of the parameter or buffer that is also called ``name`` (tied weights); constants keep theirs."""
        path, _, attribute = name.rpartition(".")
        try:
            found: object = getattr(self._model.get_submodule(path), attribute)
        except AttributeError:
            return name
        return self._names.get(id(found), name)

    def path(self, path: str) -> str:
        """The first path of the module that is also found under ``path``."""
        return self._paths.get(id(self._model.get_submodule(path)), path)

    @staticmethod
    def frames(node: Node) -> list[Frame]:
        """The calls of modules that the node lies in, innermost last; a second call of a module has another key."""
        stack = node.meta.get("nn_module_stack") or {}
        return [(str(key), str(entry[0])) for key, entry in stack.items()]

    def caller(self, node: Node) -> str:
        """Path of the innermost module whose call holds the node; empty for the model itself."""
        frames = self.frames(node)
        return self.path(frames[-1][1]) if frames else ""

    def resolve(self, node: Node, source: Node, weight: str, op: str) -> tuple[str, str | None]:
        """(name of the layer, path of the module whose weight and input can be quantised or None).

        A module counts as the owner only if it was called and holds the weight: ``nn.MultiheadAttention`` hands the
        weights of its output projection to a function, and neither a hook nor a pre-hook of that projection would run.
        ``source`` is the node that made the layer's input; if that lies in the module's own call, a hook cannot reach it,
        unless it was a pre-hook that made it.
        """
        frames = self.frames(node)
        key, called = frames[-1] if frames else ("", "")
        module, path = self._model.get_submodule(called), self.path(called)
        if quantisable_module(module) and self._holds(module, path, weight):
            inside = key in [k for k, _ in self.frames(source)] and not _stock(module)
            return path or op, None if inside else path
        owner, _, attribute = weight.partition("[")[0].rpartition(".")
        if attribute == "weight" and owner:
            return owner, None
        return f"{owner}/{op}" if owner else op, None

    def _holds(self, module: nn.Module, path: str, weight: str) -> bool:
        whole = weight.partition("[")[0]
        if f"{path}.parametrizations.weight." in whole or (not path and whole.startswith("parametrizations.weight.")):
            return True
        own = module._parameters.get("weight")
        return own is not None and self._names.get(id(own)) == whole
