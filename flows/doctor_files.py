"""Whether the files of the lake are what such files are: how many of their lines can't be used."""

from collections import defaultdict
from collections.abc import Mapping
from statistics import median
from typing import Final

from flows.doctor_findings import Finding, counted
from flows.lake import FileRecord, Lake

HIGH: Final = 0.05
RISE: Final = 5.0
FEW: Final = 20
_NOTABLE: Final = 0.01


def examine_files(lake: Lake) -> list[Finding]:
    """Find files that couldn't be read, have no events, or many lines that can't be used.

    High is a share of more than `HIGH` of a file's lines. A reason has risen where it has more
    than `RISE` times the median share of files of the same edition, and at least a hundredth of
    the lines. Fewer than `FEW` lines are no matter.
    """
    return [*_unreadable(lake), *_empty(lake), *_rejected(lake), *_mended(lake)]


def _unreadable(lake: Lake) -> list[Finding]:
    failed = [record for record in lake.files.values() if record.error is not None]
    errors = [str(record.error) for record in failed]
    if not errors:
        return []
    found = f"{counted(len(errors), 'file')} couldn't be read; none of their events is there"
    if earlier := sum(record.is_read for record in failed):
        found += f", but for {counted(earlier, 'file')}, of which those of an earlier version are"
    mend = "get them anew, or take them out of the source if they are no event files; run again"
    return [_warning("unreadable files", found, errors, mend)]


def _empty(lake: Lake) -> list[Finding]:
    items = [
        f"{name}: {counted(record.staged.lines, 'line')}{_reasons(record)}"
        for name, record in lake.files.items()
        if record.error is None and not record.staged.valid
    ]
    if not items:
        return []
    found = f"{counted(len(items), 'file')} without a single event"
    return [_warning("empty files", found, items, _LOOK)]


def _reasons(record: FileRecord) -> str:
    said = [f"{reason} {n:,}" for reason, n in record.staged.rejected.items() if n]
    return f" ({', '.join(said)})" if said else ""


def _rejected(lake: Lake) -> list[Finding]:
    usual = _usual_shares(lake)
    high, risen = [], []
    for name, record in lake.files.items():
        lines = record.staged.lines
        if not record.staged.valid or record.rejected < FEW:
            continue
        if record.rejected > HIGH * lines:
            high.append(
                f"{name}: {record.rejected:,} of {lines:,} lines, {record.rejected / lines:.0%}"
                f"{_reasons(record)}"
            )
            continue
        for reason, n in record.staged.rejected.items():
            before = usual[record.staged.edition].get(reason, 0.0)
            if n >= max(FEW, _NOTABLE * lines) and n > RISE * before * lines:
                risen.append(f"{name}: {reason} {n / lines:.1%}, usually {before:.1%}")
    findings = []
    if high:
        found = f"{counted(len(high), 'file')} with more than {HIGH:.0%} of the lines rejected"
        findings.append(_warning("rejected lines", found, high, _LOOK))
    if risen:
        found = f"{counted(len(risen), 'reason')} for rejecting lines more frequent than usual"
        findings.append(_warning("rejected lines", found, risen, _LOOK))
    return findings


def _usual_shares(lake: Lake) -> Mapping[str, Mapping[str, float]]:
    """Return the median share of lines that each reason has, by edition."""
    readable = [record for record in lake.files.values() if record.staged.lines]
    reasons = {reason for record in readable for reason in record.staged.rejected}
    shares: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in readable:
        for reason in reasons:
            share = record.staged.rejected.get(reason, 0) / record.staged.lines
            shares[record.staged.edition][reason].append(share)
    return {
        edition: {reason: median(found) for reason, found in by_reason.items()}
        for edition, by_reason in shares.items()
    } | {edition: {} for edition in ("yearly", "daily", "other") if edition not in shares}


def _mended(lake: Lake) -> list[Finding]:
    items = [
        f"{name}: {staged.mended_codes:,} of {staged.valid:,} events, "
        f"{staged.mended_codes / staged.valid:.0%}"
        for name, staged in ((name, record.staged) for name, record in lake.files.items())
        if staged.mended_codes >= FEW and staged.mended_codes > HIGH * staged.valid
    ]
    if not items:
        return []
    found = f"{counted(len(items), 'file')} with more than {HIGH:.0%} of the event codes mended"
    mend = "their codes have lost leading zeros or are cut; a newer release may have them right"
    return [_warning("mended codes", found, items, mend)]


_LOOK: Final = (
    "the lines and why are in `rejected/FILE.parquet` of the lake; get the file anew, or run "
    "again with `--set` of the right `ingest.format`"
)


def _warning(check: str, found: str, items: list[str], mend: str) -> Finding:
    return Finding(severity="warning", check=check, found=found, items=tuple(items), mend=mend)
