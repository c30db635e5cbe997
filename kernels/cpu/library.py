"""Compiles the C++ files beside it for this processor, once, and loads them.

The library lies in a cache folder under a name made of source, compiler and processor, so that what another machine or
version compiled is never loaded.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, cast

import torch

FOLDER = Path(__file__).parent
SOURCES = [FOLDER / f"{name}.cpp" for name in ("decoder_layers", "linear", "rows", "sample", "tree_attention")]
HEADERS = [FOLDER / f"{name}.h" for name in ("functions", "plan", "tiles", "vectors")]
SUFFIXES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
"""What the names of the functions for a dtype end in."""
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fopenmp", "-fPIC", "-shared", "-Wno-psabi")
COMPILE_TIMEOUT_S = 300


class CannotCompile(RuntimeError):
    """Why there is no compiled kernel on this machine."""


@cache
def function(name: str, *argument_types: type[Any]) -> Callable[..., None]:
    """A compiled function that takes arguments of these ctypes. Raises CannotCompile."""
    found: Any = getattr(_library(), name)
    found.argtypes, found.restype = argument_types, None
    return cast(Callable[..., None], found)


@cache
def _library() -> ctypes.CDLL:
    path = _cached()
    try:
        if not path.exists():
            _compile(path)
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise CannotCompile(str(error)) from None


def prepare() -> None:
    """Compile the library, if no process has yet, and load it. Raises CannotCompile."""
    _library()


def _cached() -> Path:
    """Where the library of these sources, compiler and processor lies. Raises CannotCompile without a compiler."""
    compiler = _compiler()
    name = blake2b(digest_size=12)
    for part in (
        *(path.read_text() for path in (*HEADERS, *SOURCES)),
        *FLAGS,
        _output(compiler, "--version"),
        _processor(),
    ):
        name.update(part.encode() + b"\0")
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "treereason" / f"cpu-{name.hexdigest()}.so"


def _compiler() -> str:
    found = shutil.which(os.environ.get("CXX") or "c++") or shutil.which("g++")
    if found is None:
        raise CannotCompile("there is no C++ compiler (c++, g++ or $CXX)")
    return found


def _processor() -> str:
    """What the processor can do, as the system tells it: a folder may be shared with other machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine() + platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))


def _compile(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        _output(_compiler(), *FLAGS, *map(str, SOURCES), "-o", str(made))
        made.replace(path)  # at once: another process may look for it now


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise CannotCompile(f"{command[0]} took more than {COMPILE_TIMEOUT_S} s") from None
    if done.returncode:
        raise CannotCompile(f"{command[0]} failed: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout
