"""The sample: reproducible, shaped like ICEWS, with its crises where `CRISES` says."""

import zipfile
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from features.sample import (
    COUNTRIES,
    CRISES,
    ICEWS_COLUMNS,
    Crisis,
    SampleConfig,
    generate_events,
    main,
    write_sample,
)

COMMITTED = Path(__file__).parents[1] / "data" / "sample"
CONFIG = SampleConfig()
KEY = ["Event ID", "Event Date"]


@pytest.fixture(scope="module")
def events() -> pl.DataFrame:
    return generate_events(CONFIG)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_sample(tmp_path_factory.mktemp("sample"), CONFIG)


def text_of(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        (member,) = archive.namelist()
        assert member.endswith(".tab")
        return archive.read(member)


def rows_of(path: Path, encoding: str = "utf-8-sig") -> pl.DataFrame:
    text = text_of(path).decode(encoding).replace("\r\n", "\n")
    return pl.read_csv(text.encode(), separator="\t", quote_char=None, infer_schema=False)


def yearly(files: list[Path], year: int) -> Path:
    (path,) = (path for path in files if path.name.startswith(f"events.{year}."))
    return path


def daily(files: list[Path]) -> list[Path]:
    return [path for path in files if "-icews-events" in path.name]


# Reproducible


def test_same_seed_same_bytes(files: list[Path], tmp_path: Path) -> None:
    again = write_sample(tmp_path, CONFIG)
    assert [path.name for path in again] == [path.name for path in files]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(again, files, strict=True))


def test_another_seed_gives_other_events() -> None:
    one, other = (
        generate_events(SampleConfig(seed=seed, n_years=1, scale=0.05)) for seed in (1, 2)
    )
    assert not one.equals(other)


def test_committed_files_are_what_the_generator_writes(files: list[Path]) -> None:
    # Compared without compression: zlib's output differs between versions.
    assert sorted(path.name for path in COMMITTED.glob("*.zip")) == sorted(p.name for p in files)
    stale = [path.name for path in files if text_of(path) != text_of(COMMITTED / path.name)]
    assert not stale, "run python -m features.sample data/sample"


def test_command_line_writes_the_sample(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], files: list[Path]
) -> None:
    main([str(tmp_path / "new")])
    assert len(capsys.readouterr().out.splitlines()) == len(files)


def test_compressed_size(files: list[Path]) -> None:
    assert sum(path.stat().st_size for path in files) < 2_000_000


# Shaped like ICEWS


def test_columns(events: pl.DataFrame, files: list[Path]) -> None:
    assert len(ICEWS_COLUMNS) == 20
    assert tuple(events.columns) == ICEWS_COLUMNS
    assert set(events.dtypes) == {pl.String}
    header = "\t".join(ICEWS_COLUMNS).encode()
    for path in files:
        first = text_of(path).removeprefix(b"\xef\xbb\xbf").splitlines()[0]
        assert first == header, path.name


def test_row_count_and_key(events: pl.DataFrame) -> None:
    assert 60_000 < events.height < 90_000
    assert not events.select(KEY).is_duplicated().any()
    assert events["Event ID"].is_duplicated().any()
    assert events["Event Date"].is_sorted()


def test_weekend_dip(events: pl.DataFrame) -> None:
    day = events["Event Date"].str.to_date().dt.weekday()
    weekend, weekdays = (day >= 6).to_numpy().sum() / 2, (day < 6).to_numpy().sum() / 5
    assert weekend / weekdays == pytest.approx(0.55, abs=0.03)


def test_event_types_are_heavy_tailed(events: pl.DataFrame) -> None:
    share = events["CAMEO Code"].value_counts(sort=True)["count"].to_numpy() / events.height
    assert share[:10].sum() == pytest.approx(0.63, abs=0.04)
    assert share[:50].sum() == pytest.approx(0.93, abs=0.02)
    assert len(share) > 150


def test_code_text_and_intensity_go_together(events: pl.DataFrame) -> None:
    codes = events["CAMEO Code"].n_unique()
    assert events.select("CAMEO Code", "Event Text", "Intensity").unique().height == codes
    assert events["Event Text"].n_unique() == codes


def test_country_volumes_are_heavy_tailed(events: pl.DataFrame) -> None:
    counts = events["Country"].value_counts(sort=True)["count"].to_numpy()
    weekly = counts / (CONFIG.days / 7)
    assert len(weekly) == len(COUNTRIES)
    assert weekly[0] > 5 * np.median(weekly)
    assert 8 < weekly[-1] < 20


@pytest.mark.parametrize(
    ("column", "rate"),
    [
        ("Source Sectors", 0.21),
        ("Target Sectors", 0.29),
        ("Source Country", 0.035),
        ("Target Country", 0.058),
        ("City", 0.25),
        ("District", 0.80),
    ],
)
def test_rate_of_blanks(events: pl.DataFrame, column: str, rate: float) -> None:
    assert (events[column] == "").mean() == pytest.approx(rate, abs=0.01)


def test_reports_repeat_events(events: pl.DataFrame) -> None:
    same = ["Event Date", "Source Name", "Target Name", "CAMEO Code"]
    assert 1 - events.n_unique(same) / events.height == pytest.approx(0.24, abs=0.03)


# Crises


def around(crisis: Crisis, events: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the country's events in the crisis, and in the eight weeks before it."""
    own = events.filter(pl.col("Country") == crisis.country)
    before = crisis.start - timedelta(weeks=8)
    day = pl.col("Event Date").str.to_date()
    during = own.filter(day.is_between(crisis.start, crisis.end))
    return during, own.filter(day.is_between(before, crisis.start, closed="left"))


@pytest.mark.parametrize("crisis", CRISES, ids=lambda c: f"{c.country} {c.start}")
def test_crisis_shows(crisis: Crisis, events: pl.DataFrame) -> None:
    during, before = around(crisis, events)
    days = (crisis.end - crisis.start).days + 1
    growth = (during.height / days) / (before.height / 56)
    assert growth == pytest.approx(crisis.volume, rel=0.45)
    assert growth > 1.5 or crisis.volume == 1
    codes = [code for code, _ in crisis.codes]
    planted = sum(share for _, share in crisis.codes)
    share_during, share_before = (
        part["CAMEO Code"].is_in(codes).to_numpy().mean() for part in (during, before)
    )
    assert share_during == pytest.approx(planted, abs=0.2)
    assert share_during > share_before + 0.3


def test_crises_as_promised() -> None:
    first, last = date(CONFIG.first_year, 1, 1), date(CONFIG.first_year + CONFIG.n_years, 1, 1)
    held_out = first + timedelta(days=round(0.8 * CONFIG.days))
    assert all(first <= crisis.start <= crisis.end < last for crisis in CRISES)
    assert sum(crisis.start > held_out for crisis in CRISES) >= 2
    assert sum(crisis.volume == 1 for crisis in CRISES) == 1
    assert all(7 <= (crisis.end - crisis.start).days + 1 <= 28 for crisis in CRISES)


def test_war_is_aimed_at_the_other_side(events: pl.DataFrame) -> None:
    war = next(crisis for crisis in CRISES if crisis.against)
    during, before = around(war, events)
    aimed_during, aimed_before = (
        (part["Target Country"] == war.against).to_numpy().mean() for part in (during, before)
    )
    assert aimed_during > 0.5
    assert aimed_before < 0.2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"end": CRISES[0].start - timedelta(days=1)}, "ends before it starts"),
        ({"codes": (("190", 0.5), ("193", 0.5))}, "less than 1"),
        ({"codes": ()}, "more than 0"),
    ],
)
def test_crises_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CRISES[0], **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"countries": COUNTRIES[:1]}, "Kestria"), ({"daily_days": 2}, "daily_days")],
)
def test_config_is_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changes)


# Quirks of the files


def test_yearly_files_stop_where_daily_files_begin(files: list[Path]) -> None:
    dates = rows_of(yearly(files, 2018))["Event Date"]
    start = CONFIG.daily_start.isoformat()
    assert dates.max() == (CONFIG.daily_start - timedelta(days=1)).isoformat()
    days = [path.name[:8] for path in daily(files)]
    assert days[0] == start.replace("-", "")
    assert days[-1] == "20181231"
    assert len(days) == CONFIG.daily_days - 1  # one is missing


def test_nothing_is_lost_between_the_files(events: pl.DataFrame, files: list[Path]) -> None:
    # American dates apart, the files hold every event and nothing else but the blemishes.
    in_files = pl.concat(
        [rows_of(yearly(files, 2015), "iso-8859-1").select(KEY)]
        + [rows_of(yearly(files, year)).select(KEY) for year in (2016, 2018)]
        + [rows_of(path).select(KEY) for path in daily(files)]
    )
    wanted = events.filter(~pl.col("Event Date").str.starts_with("2017")).select(KEY)
    assert wanted.join(in_files, on=KEY, how="anti").is_empty()
    extra = in_files.join(wanted, on=KEY, how="anti")["Event Date"]
    assert extra.str.ends_with("-02-30").all()
    assert len(extra) == 9


def test_daily_rows_are_late_and_early(files: list[Path]) -> None:
    rows = pl.concat(
        rows_of(path).with_columns(pl.lit(path.name[:8]).str.to_date("%Y%m%d").alias("file"))
        for path in daily(files)
    )
    delay = (rows["file"] - rows["Event Date"].str.to_date()).dt.total_days().to_numpy()
    assert (delay == 0).mean() == pytest.approx(0.9, abs=0.06)
    assert delay.min() == -1
    assert 7 < delay.max() <= 29


def test_spellings_of_a_missing_value(files: list[Path]) -> None:
    spelt = {
        2015: rows_of(yearly(files, 2015), "iso-8859-1"),
        2016: rows_of(yearly(files, 2016)),
        2017: rows_of(yearly(files, 2017)),
    }
    for year, word in {2015: "NA", 2016: "---", 2017: "NULL"}.items():
        assert (spelt[year]["District"] == word).to_numpy().mean() > 0.7
        assert spelt[year]["District"].null_count() == 0
    assert rows_of(yearly(files, 2018))["District"].null_count() > 0


def test_encodings_and_line_ends(files: list[Path]) -> None:
    raw = {year: text_of(yearly(files, year)) for year in (2015, 2016, 2017, 2018)}
    with pytest.raises(UnicodeDecodeError):
        raw[2015].decode()
    assert "Côte d'Ambre" in raw[2015].decode("iso-8859-1")
    assert raw[2016].count(b"\r\n") == raw[2016].count(b"\n")
    assert b"\r" not in raw[2017]
    assert raw[2018].startswith(b"\xef\xbb\xbf")
    assert rows_of(yearly(files, 2017))["Event Date"].str.contains(r"^\d+/\d+/2017$").all()


def test_names_that_trip_readers(events: pl.DataFrame) -> None:
    assert events["Source Name"].str.contains('"').any()
    assert events["City"].str.contains("^ ").any()
    assert {"Ardovia, Republic of", "Côte d'Ambre"} <= set(events["Country"])
    sectors = events["Source Sectors"].str.split(",")
    assert (sectors.list.n_unique() < sectors.list.len()).any()
    orders = events.filter(pl.col("Source Name").str.starts_with("Police (Kestria"))
    assert orders["Source Sectors"].n_unique() > 2


def test_blemishes(files: list[Path]) -> None:
    rows = rows_of(yearly(files, 2016))
    assert rows.is_duplicated().sum() >= 6
    assert {"13y", "36"} <= set(rows["CAMEO Code"])
    assert (rows["Event Date"] == "2016-02-30").sum() == 3
