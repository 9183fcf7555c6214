"""Built-in tasks, and finding one by name or by ``package.module:Class``."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import TaskError, UnknownName
from ..registry import find, names
from ..task import Task, check_task
from .cifar10 import Cifar10
from .digits import Digits
from .digits_vit import DigitsViT

TASKS: Mapping[str, Callable[[], Task]] = {"digits": Digits, "cifar10": Cifar10, "digits_vit": DigitsViT}
GROUP = "hwdse.tasks"


def load_task(name: str) -> Task:
    """The task called ``name``: a built-in or plug-in name, or ``my_package.my_module:MyTask`` (the current folder is searched too).

    Raises:
        UnknownName: no such name. TaskError: the module or class cannot be loaded, or lacks a member.
    """
    if ":" not in name:
        if name not in names(TASKS, GROUP):
            raise UnknownName("task", name, names(TASKS, GROUP), "Your own is written my_package.my_module:MyTask.")
        return check_task(find("task", TASKS, name, GROUP)())
    module_name, _, class_name = name.partition(":")
    if not all(part.isidentifier() for part in module_name.split(".")) or not class_name.isidentifier():
        raise TaskError(f"task '{name}' is not of the form my_package.my_module:MyTask (dots, no slashes, no .py).")
    made = _member(name, _imported(name, module_name), class_name)
    if not isinstance(made, type):
        return check_task(made)
    try:
        needed = [
            p.name
            for p in inspect.signature(made).parameters.values()
            if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        ]
    except ValueError:  # a class without a readable signature
        needed = []
    if needed:
        raise TaskError(
            f"task '{name}': {class_name}() needs the argument{'s' * (len(needed) > 1)} {', '.join(needed)}; give each a default, "
            f"or write `my_task = {class_name}(...)` in the module and ask for {module_name}:my_task."
        )
    return check_task(made())


def _imported(name: str, module_name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise TaskError(f"task '{name}': there is no module {module_name} in {here} or among the installed packages.") from None
        raise TaskError(f"task '{name}': {module_name} imports {error.name}, which is not installed.") from error
    except Exception as error:  # whatever the user's module raises while it is imported
        text = (str(error).strip() or "no message").splitlines()[0]
        raise TaskError(f"task '{name}': {module_name} fails while it is imported: {type(error).__name__}: {text}") from error


def _member(name: str, module: ModuleType, class_name: str) -> Any:
    made = getattr(module, class_name, None)
    if made is None:
        known = [n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module.__name__]
        raise UnknownName(f"class in {module.__name__}", class_name, known)
    return made
