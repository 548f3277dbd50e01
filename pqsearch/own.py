"""What users bring as `module:name`: a file beside the spec, or part of an installed package."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import textwrap
from typing import Any

from pqsearch import rooms
from pqsearch.errors import UserError


def load_own(name: str, folder: str | None, key: str) -> Any:
    """The callable that `module:name` names; the module is looked for in `folder` first.

    Raises `UserError`, whose line begins with the spec's `key`.
    """
    module_name, _, entry = name.partition(":")
    if folder and folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name.partition(".")[0] and error.name != module_name:
            raise UserError(
                f"{key}: {module_name} needs {error.name}, which is not installed; pip install it"
            ) from None
        raise UserError(
            f"{key}: there is no module {module_name!r} in {folder or 'the installed packages'}; "
            f"put the file beside the spec or set {key.partition('.')[0]}.folder"
        ) from None
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{key}: importing {module_name} failed: {type(error).__name__}: {reason}") from None
    found = getattr(module, entry, None)
    if not callable(found):
        known = [attribute for attribute, value in vars(module).items() if callable(value)]
        raise UserError(f"{key}: {module_name} has no function or class {entry!r}{rooms.nearest(entry, known, most=3)}")
    return found


def own_options(entry: Any) -> tuple[rooms.Option, ...] | None:
    """The keyword-only options of a user's class or function, read like those of a room's file; None without source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(entry)))
    except (OSError, TypeError, SyntaxError):
        return None
    return rooms.options_of(tree.body[0])
