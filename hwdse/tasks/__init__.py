"""Built-in tasks, and finding one by name or by ``package.module:Class``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from ..errors import TaskError, UnknownName
from ..registry import find, names
from ..task import Task, check_task
from .digits import Digits

TASKS: Mapping[str, Callable[[], Task]] = {"digits": Digits}
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
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise TaskError(f"task '{name}': cannot import {module_name}: {error}. Run from the folder that holds it, or install it.") from None
    made = getattr(module, class_name, None)
    if made is None:
        known = [n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module_name]
        raise UnknownName(f"class in {module_name}", class_name, known)
    try:
        return check_task(made() if isinstance(made, type) else made)
    except TypeError as error:
        raise TaskError(f"task '{name}': {class_name}() could not be made without arguments: {error}.") from error
