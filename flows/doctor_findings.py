"""What an examination of the lake found, and how it is printed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Final, Literal, get_args

from rich.console import Console
from rich.text import Text

Severity = Literal["error", "warning", "note"]
"""``error``: what readers get is wrong or can't be made; ``warning``: events are probably missing
or wrong; ``note``: worth knowing."""

_LOG_WIDTH: Final = 120
_SHOWN: Final = 6
_STYLES: Final[Mapping[Severity, str]] = {"error": "bold red", "warning": "yellow", "note": "cyan"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was found.

    Attributes
    ----------
    severity
        How bad it is.
    check
        What was looked for, in a few words; the same for every finding of the kind.
    found
        What is so.
    items
        The single cases.
    mend
        What to do about it, with a command where there is one; empty if nothing needs doing.
    """

    severity: Severity
    check: str
    found: str
    items: tuple[str, ...] = ()
    mend: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that was found, the worst first.

    Attributes
    ----------
    summary
        What the lake holds, in a line.
    findings
        In order of severity, and then as they were looked for.
    """

    summary: str
    findings: tuple[Finding, ...]

    @property
    def has_errors(self) -> bool:
        """Whether anything is an error."""
        return any(finding.severity == "error" for finding in self.findings)

    def content(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        findings = [asdict(finding) for finding in self.findings]
        return {"summary": self.summary, "errors": self.has_errors, "findings": findings}


def report_of(summary: str, findings: Sequence[Finding]) -> Report:
    """Make a report, the worst first.

    Examples
    --------
    >>> odd = Finding(severity="note", check="a", found="x")
    >>> bad = Finding(severity="error", check="b", found="y")
    >>> [finding.check for finding in report_of("", [odd, bad]).findings]
    ['b', 'a']
    """
    order = {severity: i for i, severity in enumerate(get_args(Severity))}
    ranked = sorted(findings, key=lambda finding: order[finding.severity])
    return Report(summary=summary, findings=tuple(ranked))


def print_report(report: Report, console: Console | None = None) -> None:
    """Print what was found, by severity, with no more than a few cases of each."""
    if console is None:
        console = Console()
        if not console.is_terminal:
            console = Console(width=_LOG_WIDTH)
    _say(console, report.summary, "bold")
    if not report.findings:
        _say(console, "Nothing is wrong or odd.", "green")
    for finding in report.findings:
        line = Text.assemble(
            (f"{finding.severity}: {finding.check}: ", _STYLES[finding.severity]), finding.found
        )
        console.print(line, soft_wrap=True)
        for item in finding.items[:_SHOWN]:
            _say(console, f"    {item}")
        if len(finding.items) > _SHOWN:
            _say(console, f"    … and {len(finding.items) - _SHOWN:,} more (--json has all)")
        if finding.mend:
            _say(console, f"    → {finding.mend}", "dim")


def _say(console: Console, line: str, style: str = "") -> None:
    console.print(Text(line, style=style), soft_wrap=True)


def counted(number: int, unit: str) -> str:
    """Write a number with its unit.

    Examples
    --------
    >>> counted(1, "day"), counted(2000, "day")
    ('1 day', '2,000 days')
    """
    return f"{number:,} {unit}" if number == 1 else f"{number:,} {unit}s"


def span(first: date, last: date) -> str:
    """Write a span of days.

    Examples
    --------
    >>> span(date(2018, 10, 6), date(2018, 10, 6)), span(date(2018, 10, 1), date(2018, 10, 3))
    ('2018-10-06', '2018-10-01 to 2018-10-03')
    """
    return str(first) if first == last else f"{first} to {last}"
