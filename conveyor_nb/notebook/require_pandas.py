"""What is said where there is no pandas, as in a browser's Python: all but frames works there."""

from __future__ import annotations

from conveyor_nb.core.errors import ConveyorError

__all__ = ["NoPandasError", "require_pandas"]


class NoPandasError(ConveyorError, ImportError):
    """A DataFrame is asked for where none can be made."""


def require_pandas() -> None:
    """Check that DataFrames can be made.

    Raises:
        NoPandasError: they can't.
    """
    try:
        import pandas  # noqa: F401
    except ImportError as error:
        raise NoPandasError(
            f"a DataFrame needs {error.name}, which is not installed here; run: %pip install pandas"
        ) from None
