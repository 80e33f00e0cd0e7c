"""What was measured, for people (a table and a picture) and for programs (JSON)."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from conveyor_nb import __version__
from tests.benchmarks.engine import FLOW, FLOW_TARGET, OURS
from tests.benchmarks.measuring import Figure, Plan

__all__ = ["conditions", "draw", "save", "table"]

_PACKAGES = (
    *("taskiq", "huey", "dramatiq", "pgqueuer", "procrastinate", "asyncpg", "psycopg"),
    *("sortedcontainers", "pandas"),
)


def conditions(plan: Plan) -> dict[str, str]:
    """The machine, the versions, and how it was measured."""
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "load": _load(),
        "system": platform.platform(),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(
            [f"conveyor_nb {__version__}", *(f"{name} {_version(name)}" for name in _PACKAGES)]
        ),
        "figures": f"medians of {plan.repeats} or more; wall time (and processor time)",
        "collector": "on, as Python sets it; a full collection before each sample",
    }


def table(figures: Sequence[Figure], told: dict[str, str]) -> str:
    """Everything, to be read in a terminal."""
    parts = ["\n".join(f"{name + ':':<12}{text}" for name, text in told.items())]
    for group in dict.fromkeys(figure.group for figure in figures):
        members = [figure for figure in figures if figure.group == group]
        rows = [_row(name, members) for name in _names(members)]
        head = f"{group} ({members[0].unit})"
        titles = [head, *(f"{size:,}" for size in _sizes(members)), "ratio", "target", ""]
        rows += _comparisons(members)
        lines = _aligned([titles, *rows])
        remarks = {f"  {one.name}: {one.remark}" for one in members if one.remark}
        parts.append("\n".join([*lines, *sorted(remarks)]))
    return "\n\n".join(parts)


def save(figures: Iterable[Figure], told: dict[str, str], path: Path) -> None:
    """Write all of it as JSON."""
    written = {"conditions": told, "figures": [_as_json(figure) for figure in figures]}
    path.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def draw(figures: Sequence[Figure], path: Path) -> None:
    """Write a picture of cost against size: of a job's whole way, and of each step."""
    picture = Picture(figsize=(11, 4.5), layout="constrained")
    whole, steps = picture.subplots(1, 2)
    flow = [figure for figure in figures if figure.group == FLOW]
    for name in _names(flow):
        _line(whole, name, [figure for figure in flow if figure.name == name], name == OURS)
    whole.axhline(FLOW_TARGET, color="grey", linestyle="--", linewidth=1, label="target")
    _dress(whole, "A job, from enqueueing to its result", "jobs")
    held = [one for one in figures if one.name == "waiting" and "with jobs held" in one.group]
    for group in dict.fromkeys(figure.group for figure in held):
        _line(steps, group.partition(",")[0], [one for one in held if one.group == group], True)
    _dress(steps, "A step, by the jobs that wait", "jobs held")
    picture.savefig(path, dpi=120)


# -- the table ----------------------------------------------------------------------------------


def _names(figures: Iterable[Figure]) -> list[str]:
    return list(dict.fromkeys(figure.name for figure in figures))


def _sizes(figures: Iterable[Figure]) -> list[int]:
    return sorted({figure.size for figure in figures})


def _row(name: str, members: Sequence[Figure]) -> list[str]:
    own = {figure.size: figure for figure in members if figure.name == name}
    last = own[max(own)]
    cells = [_cell(own.get(size)) for size in _sizes(members)]
    ratio = f"x {last.ratio:.2f}" if last.ratio is not None else ""
    verdicts = [figure.is_met for figure in own.values() if figure.is_met is not None]
    verdict = "" if not verdicts else "met" if all(verdicts) else "MISSED"
    return [f"  {name}", *cells, ratio, _target(list(own.values())), verdict]


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    cpu = f" ({_number(figure.cpu)})" if figure.cpu is not None else ""
    return _number(figure.value) + cpu


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _target(own: Sequence[Figure]) -> str:
    told = []
    for figure in own:
        if figure.at_most is not None:
            told.append(f"<= {figure.at_most:,.0f}")
        if figure.at_most_ratio is not None:
            told.append(f"<= x {figure.at_most_ratio:g}")
    return ", ".join(dict.fromkeys(told))


def _comparisons(members: Sequence[Figure]) -> Iterator[list[str]]:
    """Our figure in relation to that of each peer, size by size."""
    value = {(figure.name, figure.size): figure.value for figure in members}
    sizes = _sizes(members)
    if OURS not in _names(members):
        return
    for name in _names(members):
        if name != OURS:
            pairs = [(value.get((OURS, size)), value.get((name, size))) for size in sizes]
            cells = [f"x {ours / theirs:.2f}" if ours and theirs else "-" for ours, theirs in pairs]
            ahead = all(ours < theirs for ours, theirs in pairs if ours and theirs)
            yield [f"  {OURS} to {name}", *cells, "", "< x 1", "met" if ahead else "MISSED"]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if not position else cell.rjust(width)
            for position, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


# -- JSON and the picture -----------------------------------------------------------------------


def _as_json(figure: Figure) -> dict[str, Any]:
    return {
        "group": figure.group,
        "name": figure.name,
        "size": figure.size,
        "unit": figure.unit,
        "median": figure.value,
        "cpu": figure.cpu,
        "at_most": figure.at_most,
        "small": figure.small,
        "ratio": figure.ratio,
        "at_most_ratio": figure.at_most_ratio,
        "is_met": figure.is_met,
        "remark": figure.remark,
        "samples": [round(sample, 4) for sample in figure.samples],
    }


def _line(axes: Axes, name: str, figures: Sequence[Figure], strong: bool) -> None:
    sizes = [figure.size for figure in figures]
    values = [figure.value for figure in figures]
    axes.plot(sizes, values, marker="o", label=name, linewidth=2 if strong else 1)


def _dress(axes: Axes, title: str, across: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(across)
    axes.set_ylabel("µs")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small", framealpha=0.5)


# -- the machine --------------------------------------------------------------------------------


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _load() -> str:
    if not hasattr(os, "getloadavg"):
        return "unknown"
    return f"{os.getloadavg()[0]:.1f} over the last minute"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(not installed)"
