"""A synthetic ICEWS sample: invented countries, a realistic texture, crises at known dates.

The sample stands in for data that cannot be shipped. It comes in the same two editions as ICEWS,
yearly and daily files, with the same quirks; and since the crises are planted, what a model finds
in it can be checked against `CRISES`. ``python -m features.sample data/sample`` writes it.
"""

import argparse
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from features.sample_events import ICEWS_COLUMNS, generate_events
from features.sample_world import COUNTRIES, CRISES, Country, Crisis, SampleConfig

__all__ = [
    "COUNTRIES",
    "CRISES",
    "ICEWS_COLUMNS",
    "Country",
    "Crisis",
    "SampleConfig",
    "generate_events",
    "write_sample",
]


@dataclass(frozen=True, kw_only=True)
class _Edition:
    """How one file is spelt."""

    encoding: str = "utf-8"
    line_end: str = "\n"
    missing: str = ""
    american_dates: bool = False


_YEARLY = (
    _Edition(encoding="iso-8859-1", missing="NA"),
    _Edition(line_end="\r\n", missing="---"),
    _Edition(missing="NULL", american_dates=True),
    _Edition(encoding="utf-8-sig"),
)

_MISTYPED = {"137": "13y", "036": "36"}  # a letter for a digit, a stripped leading zero

# Delay of a row in days, by quantile: it is whole days from -1 to 28, and 29 over the missing file.
_DELAY_QUANTILES = (0.0, 0.043, 0.947, 0.969, 0.982, 0.99, 1.0)
_DELAY_DAYS = (-1, 0, 1, 2, 3, 4, 29)


def _spell(events: pl.DataFrame, edition: _Edition) -> bytes:
    """Text of one file, in the spelling of its edition."""
    day = pl.col("Event Date")
    if edition.american_dates:
        day = day.str.replace(r"^(\d+)-0?(\d+)-0?(\d+)$", "$2/$3/$1")
    text = (
        events.with_columns(day)
        .with_columns(pl.all().replace("", edition.missing))
        .write_csv(separator="\t", quote_style="never", line_terminator=edition.line_end)
    )
    return text.encode(edition.encoding)


def _write_zip(path: Path, text: bytes) -> Path:
    """Write a zip file with one member, the same bytes whenever it is written."""
    member = zipfile.ZipInfo(f"{path.name.removesuffix('.tab.zip').removesuffix('.zip')}.tab")
    member.external_attr = 0o644 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, text, zipfile.ZIP_DEFLATED, 9)
    return path


def _blemish(events: pl.DataFrame, rng: np.random.Generator, year: int) -> pl.DataFrame:
    """Add what goes wrong in a yearly file: duplicates, mistyped codes, impossible dates."""
    picked = rng.random(events.height).argsort()
    code = pl.col("CAMEO Code")
    among_first = pl.int_range(pl.len()).over(code) < 4
    mistyped = events.with_columns(
        pl.when(among_first).then(code.replace(_MISTYPED)).otherwise(code)
    )
    twice = np.sort(np.concatenate([np.arange(events.height), picked[:6]]))
    impossible = pl.lit(f"{year}-02-30").alias("Event Date")
    return pl.concat([mistyped[twice], events[picked[6:9]].with_columns(impossible)])


def _write_years(folder: Path, config: SampleConfig, events: pl.DataFrame) -> list[Path]:
    """Write a file a year; the last stops where the daily files begin."""
    rng = np.random.default_rng([config.seed, 1])
    before = events.filter(pl.col("Event Date") < config.daily_start.isoformat())
    written = []
    for i in range(config.n_years):
        year = config.first_year + i
        rows = before.filter(pl.col("Event Date").str.starts_with(str(year)))
        text = _spell(_blemish(rows, rng, year), _YEARLY[i % len(_YEARLY)])
        path = folder / f"events.{year}.{config.first_year + config.n_years}0710092545.tab.zip"
        written.append(_write_zip(path, text))
    return written


def _released(config: SampleConfig, events: pl.DataFrame) -> pl.DataFrame:
    """Rows of the daily files, with the day of the file.

    A few late rows are dated before the daily files begin, and are in the yearly file too. One
    file is missing, halfway: its rows come a day later.
    """
    rng = np.random.default_rng([config.seed, 2])
    delay = np.floor(np.interp(rng.random(events.height), _DELAY_QUANTILES, _DELAY_DAYS))
    day = pl.col("Event Date").str.to_date()
    start = config.daily_start
    gap = start + timedelta(days=config.daily_days // 2)
    last = start + timedelta(days=config.daily_days - 1)
    due = day + pl.duration(days=pl.lit(pl.Series(delay, dtype=pl.Int64)))
    due = pl.when(day >= start).then(due.clip(start, last)).otherwise(due)
    released = pl.when(due == gap).then(gap + timedelta(days=1)).otherwise(due).alias("released")
    return events.with_columns(released).filter(pl.col("released").is_between(start, last))


def _write_days(folder: Path, config: SampleConfig, events: pl.DataFrame) -> list[Path]:
    """Write a file a day for the last days."""
    files = _released(config, events).partition_by("released", as_dict=True, include_key=False)
    return [
        _write_zip(folder / f"{day:%Y%m%d}-icews-events.zip", _spell(rows, _Edition()))
        for (day,), rows in sorted(files.items())
    ]


def write_sample(folder: Path, config: SampleConfig) -> list[Path]:
    """Write the sample's files as Dataverse names them.

    Parameters
    ----------
    folder : Path
        Where to write; created if it does not exist.
    config : SampleConfig
        Seed, countries, crises and period.

    Returns
    -------
    list of Path
        The files, yearly ones first, in order of time.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     files = write_sample(Path(folder), SampleConfig(n_years=1, crises=(), scale=0.1))
    >>> len(files), files[0].name, files[-1].name
    (28, 'events.2015.20160710092545.tab.zip', '20151231-icews-events.zip')
    """
    folder.mkdir(parents=True, exist_ok=True)
    events = generate_events(config)
    return _write_years(folder, config, events) + _write_days(folder, config, events)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the sample into the folder named on the command line."""
    parser = argparse.ArgumentParser(description="Write the synthetic ICEWS sample.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=SampleConfig.seed)
    chosen = parser.parse_args(arguments)
    for path in write_sample(chosen.folder, SampleConfig(seed=chosen.seed)):
        print(path)


if __name__ == "__main__":
    main()
