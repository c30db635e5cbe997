"""Triton's interpreter (3.6, 3.7) without work whose result it throws away, which is half of its work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any


def quicken() -> None:
    """For the whole process. What kernels compute and refuse stays as it is."""
    from triton.runtime import interpreter

    # Whether a sum of int32 overflows is worked out in int64, and not looked at unless `debug` is set.
    builder = interpreter.interpreter_builder
    builder.options = replace(builder.options, sanitize_overflow=builder.options.debug)
    interpreter._patch_lang = patched_once_a_launch(interpreter._patch_lang)


def patched_once_a_launch(patch: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A launch puts the interpreter's operations in the language's place, and so does every call of a device function
    in it: the first of each module is enough.
    """
    patched: set[int] = set()

    def once(function: Any) -> Any:
        module = id(function.__globals__)
        if module in patched:
            return None  # a call of a device function, which does not look at it
        scope = patch(function)
        if not patched:
            restore = scope.restore

            def restore_all() -> None:
                patched.clear()
                restore()

            scope.restore = restore_all
        patched.add(module)
        return scope

    return once
