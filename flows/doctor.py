"""Examining a lake: what is wrong or odd in it, and how to mend it. Nothing is changed."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from flows.doctor_events import (
    examine_gaps,
    examine_jumps,
    examine_newcomers,
    examine_sequence,
    examine_years,
)
from flows.doctor_files import examine_files
from flows.doctor_findings import Finding, Report, counted, report_of
from flows.doctor_lake import examine_lake, read_lake
from flows.doctor_source import examine_source
from flows.doctor_state import examine_leftovers, examine_lock, examine_published
from flows.lake import Lake


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """What is examined.

    Attributes
    ----------
    data
        Folder that a run writes to.
    source
        Folders of raw files, or such files, that the lake is compared with; none if not given.
    days
        Event codes and countries first seen in so many last days count as new.
    quick
        Whether to leave out checksums, which take about a second a gigabyte.

    Raises
    ------
    ValueError
        If there is no such folder, or `days` is less than 1.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    data: Path
    source: tuple[Path, ...] = ()
    days: int = 30
    quick: bool = False

    def __post_init__(self) -> None:
        if self.days < 1:
            msg = f"days={self.days}: expected at least 1"
            raise ValueError(msg)
        if not self.data.is_dir():
            msg = f"data={self.data}: expected a folder that a run has written to"
            raise ValueError(msg)


def examine(config: DoctorConfig) -> Report:
    """Compare ledger, lake, source and what is published, and look for gaps, jumps and novelties.

    Examples
    --------
    >>> import tempfile
    >>> report = examine(DoctorConfig(data=Path(tempfile.mkdtemp())))
    >>> report.has_errors, report.findings[0].check
    (True, 'lake')
    """
    dataset = config.data / "lake"
    findings, running = examine_lock(config.data)
    findings += examine_leftovers(config.data, running=running)
    read = read_lake(dataset)
    findings += read.findings
    if read.lake is None:
        return report_of(f"Nothing can be said of the events in {dataset}", findings)
    return report_of(_summary(read.lake, dataset), [*findings, *_examine(read.lake, config)])


def _examine(lake: Lake, config: DoctorConfig) -> list[Finding]:
    findings, damaged = examine_lake(lake, config.data / "lake", quick=config.quick)
    if config.source:
        findings += examine_source(lake, config.source)
    findings += examine_published(config.data, lake)
    findings += examine_files(lake)
    findings += examine_years(lake)
    findings += examine_gaps(lake)
    findings += examine_sequence(lake)
    findings += examine_jumps(lake)
    return findings + examine_newcomers(lake, config.days, damaged)


def _summary(lake: Lake, dataset: Path) -> str:
    events = sum(record.events for record in lake.days.values())
    span = f", {min(lake.days)} to {max(lake.days)}" if lake.days else ""
    return (
        f"{dataset}: {counted(len(lake.files), 'file')}, {counted(events, 'event')}{span}, "
        f"{counted(len(lake.months), 'month')}"
    )
