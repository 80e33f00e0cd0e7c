"""What goes from one process to another: handlers, payloads, results and errors, as bytes.

It is ``cloudpickle`` that makes them, so what a notebook or a script defines itself can go along.
"""

from __future__ import annotations

import io
import linecache
from collections import ChainMap
from collections.abc import Callable
from types import CodeType
from typing import Any, ClassVar

import cloudpickle

from conveyor_nb.core.errors import ConveyorError, PayloadError
from conveyor_nb.core.options.retry_policy import Retried
from conveyor_nb.core.values.text import fit
from conveyor_nb.running.tracebacks import describe

__all__ = [
    "Classes",
    "pack_data",
    "pack_error",
    "pack_handler",
    "pack_result",
    "unpack",
    "unpack_result",
]

# Throughout, as in payload.freeze: a reducer may raise anything, and all of it means
# "can't be copied".

unpack: Callable[[bytes], Any] = cloudpickle.loads


Classes = dict[tuple[str, str], type]
"""The classes that are in a copy, by module and name."""


def pack_handler(
    handler: Callable[[Any], Any], retry_on: Retried
) -> tuple[bytes, dict[str, Any], Classes]:
    """A copy of a handler and what is retried, source lines that it may be from, and its classes.

    Raises:
        TypeError: it can't be copied.
    """
    try:
        packed, classes = _pack_all((handler, retry_on))
    except Exception as error:
        name = getattr(handler, "__name__", repr(handler))
        raise TypeError(
            f"handler {name} can't be sent to a process ({describe(error)}); "
            "let it make what it needs itself, or take it from job.data"
        ) from error
    # lines without a time of change are in no file, so a child's tracebacks could not show them
    cells = {name: entry for name, entry in linecache.cache.items() if entry[1:2] == (None,)}
    return packed, cells, classes


def pack_data(value: Any, data: Any, of_handler: Classes) -> bytes:
    """The copy of a message with jobs' ``data`` in it.

    Raises:
        PayloadError: it can't be copied.
        ConveyorError: a class in it is another than the handler's of that name.
    """
    try:
        packed, classes = _pack_all(value)
    except Exception as error:
        raise PayloadError.of("data", data, error) from error
    for key, one in classes.items():
        if of_handler.get(key, one) is not one:
            raise ConveyorError(
                f"class {fit(one.__qualname__)} of the payload was defined anew since the handler "
                "was copied to its process, which knows the old one; run the worker's cell again"
            )
    return packed


def pack_result(value: Any) -> bytes:
    """The copy of a handler's result; ``PayloadError`` if it can't be copied."""
    try:
        return _pack(value)
    except Exception as error:
        raise PayloadError.of("returnvalue", value, error) from error


def unpack_result(packed: bytes, type_name: str) -> Any:
    """The result, which is a ``type_name``; ``PayloadError`` if it can't be made here."""
    try:
        return unpack(packed)
    except Exception as error:
        raise PayloadError("returnvalue", type_name, describe(error)) from error


def pack_error(error: Exception) -> bytes:
    """The copy of an error; if it can't be copied, of one that has its text."""
    try:
        packed = _pack(error)
        unpack(packed)
    except Exception:
        packed = _pack(ConveyorError(describe(error)))
    return packed


def _code_of_file(
    make: Callable[..., CodeType], arguments: tuple[Any, ...], file_name: str
) -> CodeType:
    return make(*arguments).replace(co_filename=file_name)


def _reduce_code(code: CodeType) -> tuple[Any, ...]:
    make, arguments = cloudpickle.Pickler.dispatch_table[CodeType](code)
    return _code_of_file, (make, arguments, code.co_filename)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    """Keeps the file names of functions, which cloudpickle leaves out: tracebacks need them."""

    dispatch_table: ClassVar[Any] = ChainMap(
        {CodeType: _reduce_code}, cloudpickle.Pickler.dispatch_table
    )

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.classes: Classes = {}

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type):
            self.classes[obj.__module__, obj.__qualname__] = obj
        return super().reducer_override(obj)


def _pack(value: Any) -> bytes:
    return _pack_all(value)[0]


def _pack_all(value: Any) -> tuple[bytes, Classes]:
    file = io.BytesIO()
    pickler = _Pickler(file)
    pickler.dump(value)
    return file.getvalue(), pickler.classes
