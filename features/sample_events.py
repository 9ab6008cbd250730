"""Draw the events of the sample.

How a report comes about, each step one vectorised draw: a country and a day in proportion to a
volume surface; an event type from that country's mixture on that day, which drifts slowly between
two Dirichlet draws and is shifted by a crisis; the two parties; and the number of reports of it.
"""

from datetime import date
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.cameo import cameo_table
from features.sample_world import CAST, FAMILY, GIVEN, PUBLISHERS, SampleConfig

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_HEADER = (
    "Event ID|Event Date|Source Name|Source Sectors|Source Country|Event Text|CAMEO Code|Intensity|"
    "Target Name|Target Sectors|Target Country|Story ID|Sentence Number|Publisher|City|District|"
    "Province|Country|Latitude|Longitude"
)
ICEWS_COLUMNS: Final = tuple(_HEADER.split("|"))
"""Columns of ICEWS in their order, under the names that they have there."""

# The 50 commonest codes of ICEWS, in order; every other code comes after them.
_COMMONEST = (
    "010 040 173 036 020 043 042 051 111 112 141 190 046 057 180 050 030 032 100 120 193 090 013 "
    "130 017 012 041 0841 044 145 073 160 022 181 161 195 174 175 1711 172 016 182 163 018 054 "
    "1821 143 081 070 114"
)

_REPEATS = 0.24  # share of the rows that report an event again
_NEIGHBOURS = np.array([0, 1, -1, 2, -2, 3])  # steps round the ring, with their weights:
_SOURCE_NEAR = np.array([0.73, 0.08, 0.08, 0.05, 0.04, 0.02])
_TARGET_NEAR = np.array([0.69, 0.10, 0.09, 0.06, 0.04, 0.02])

# Rates of blanks that, with the cast's own, come to those of ICEWS (sectors 21 % and 29 %, ...).
_BLANKS = {
    "Source Sectors": 0.08,
    "Target Sectors": 0.185,
    "Target Country": 0.024,
    "City": 0.25,
    "District": 0.8,
    "Province": 0.15,
}


def _pick(rng: np.random.Generator, weights: Floats, rows: Ints) -> Ints:
    """Draw for each entry of `rows` a column, in proportion to that row of `weights`.

    The rows' distribution functions are laid end to end, so that one sorted search serves all.
    """
    width = weights.shape[1]
    cdf = np.cumsum(weights, axis=1)
    cdf = cdf / cdf[:, -1:] + np.arange(len(cdf))[:, None]
    found = np.searchsorted(cdf.ravel(), rows + rng.random(len(rows)), side="right")
    column: Ints = np.minimum(found - rows * width, width - 1)
    return column


def _pick_one(rng: np.random.Generator, weights: Floats, n: int) -> Ints:
    return _pick(rng, weights[None], np.zeros(n, dtype=np.int64))


@cache
def _event_types() -> pl.DataFrame:
    """Return the CAMEO codes below the root, the commonest first."""
    rank = {code: i for i, code in enumerate(_COMMONEST.split())}
    order = pl.col("code").replace_strict(rank, default=len(rank), return_dtype=pl.Int64)
    return cameo_table().filter(pl.col("code") != pl.col("root")).sort(order, maintain_order=True)


def _weekdays(config: SampleConfig) -> Ints:
    """Days since a Monday, for every day of the sample."""
    first = date(config.first_year, 1, 1)
    return np.arange(config.days) + first.weekday()


def _volumes(rng: np.random.Generator, config: SampleConfig) -> Floats:
    """Mean number of reports by day and country: overdispersed weeks, weekends at 55 %."""
    day = _weekdays(config)
    weekly = np.array([country.events_per_week for country in config.countries]) * config.scale
    noise = np.exp(0.25 * rng.standard_normal((day[-1] // 7 + 1, len(weekly))))
    weekend = np.where(day % 7 >= 5, 0.55, 1.0) / (5 + 2 * 0.55)
    volume = weekly * noise[day // 7] * weekend[:, None]
    for crisis in config.crises:
        volume[config.span(crisis)] *= crisis.volume
    return volume


def _mixtures(rng: np.random.Generator, config: SampleConfig) -> Floats:
    """Weight of every event type by day and country."""
    codes = _event_types()["code"].to_list()
    base = (np.arange(len(codes)) + 8.0) ** -2.15  # the shape of ICEWS: top 10 63 %, top 50 92 %
    base[50:] = rng.permutation(base[50:])  # which are the rarer ones is up to chance
    concentration = 50 * base / base.sum()
    one, other = rng.dirichlet(concentration, size=(2, len(config.countries)))
    turns = np.arange(config.days)[:, None] / (3 * 365) + rng.random(len(config.countries))
    drift = (0.5 + 0.5 * np.sin(2 * np.pi * turns))[..., None]
    mixture: Floats = (1 - drift) * one + drift * other
    for crisis in config.crises:
        span = config.span(crisis)
        mixture[span] *= 1 - sum(share for _, share in crisis.codes)
        for code, share in crisis.codes:
            mixture[(*span, codes.index(code))] += share
    return mixture


def _parties(
    rng: np.random.Generator, config: SampleConfig, day: Ints, country: Ints
) -> tuple[Ints, Ints]:
    """Return the countries of source and target: mostly the event's own, else a neighbour's."""
    n = len(country)
    source = country + _NEIGHBOURS[_pick_one(rng, _SOURCE_NEAR, n)]
    target = country + _NEIGHBOURS[_pick_one(rng, _TARGET_NEAR, n)]
    names = [country.name for country in config.countries]
    aimed = rng.random(n) < 0.6
    for crisis in config.crises:
        if crisis.against:
            days, place = config.span(crisis)
            inside = (day >= days.start) & (day < days.stop) & (country == place)
            target[inside & aimed] = names.index(crisis.against)
    return source % len(names), target % len(names)


def _draw(rng: np.random.Generator, config: SampleConfig) -> dict[str, Ints]:
    """Draw every report, in order of day and country, as indices into the tables of the world."""
    volume = _volumes(rng, config)
    places = len(config.countries)
    events = round(volume.sum() * (1 - _REPEATS))
    cell = np.sort(_pick_one(rng, volume.ravel(), events))
    day, country = cell // places, cell % places
    mixture = _mixtures(rng, config)
    source, target = _parties(rng, config, day, country)
    roles = np.array([weight for _, _, weight in CAST])
    drawn = {
        "day": day,
        "country": country,
        "code": _pick(rng, mixture.reshape(-1, mixture.shape[-1]), cell),
        "source": source,
        "target": target,
        "source_role": _pick_one(rng, roles, events),
        "target_role": _pick_one(rng, roles, events),
    }
    same = (source == target) & (drawn["source_role"] == drawn["target_role"])
    drawn["target_role"] = np.where(
        same, (drawn["target_role"] + 1) % len(CAST), drawn["target_role"]
    )
    reports = 1 + np.floor(np.log(1 - rng.random(events)) / np.log(_REPEATS)).astype(np.int64)
    return {name: np.repeat(values, reports) for name, values in drawn.items()}


def _stories(rng: np.random.Generator, drawn: dict[str, Ints]) -> Ints:
    """Return the story of every report: runs of about two, never across countries or days."""
    changed = np.diff(drawn["country"], prepend=-1) != 0
    changed |= np.diff(drawn["day"], prepend=-1) != 0
    return np.cumsum(changed | (rng.random(len(changed)) < 0.5)) - 1


def _person(number: int) -> str:
    """Name a person; every fourth has a nickname in double quotes, as in ICEWS.

    >>> _person(4)
    'Anton "Ant" Serrano'
    """
    family = FAMILY.split()
    given = GIVEN[number % len(GIVEN)]
    nick = f' "{given[:3]}"' if number % 4 == 0 else ""
    return f"{given}{nick} {family[number % len(family)]}"


def _actors(config: SampleConfig) -> pl.Series:
    """Names of the actors, the whole cast of one country after the other's."""
    return pl.Series(
        [
            _person(place * len(CAST) + role) if label == "@" else label.format(country.name)
            for place, country in enumerate(config.countries)
            for role, (label, _, _) in enumerate(CAST)
        ]
    )


def _sectors(rng: np.random.Generator, role: Ints) -> pl.Series:
    """Sectors of each actor, in one of three random orders."""
    orders = 3
    pool = pl.Series(
        [
            ",".join(np.array(sectors.split(","))[rng.permutation(sectors.count(",") + 1)])
            for _, sectors, _ in CAST
            for _ in range(orders)
        ]
    )
    return pool.gather(role * orders + rng.integers(orders, size=len(role)))


def _side(
    rng: np.random.Generator, config: SampleConfig, side: str, place: Ints, role: Ints
) -> dict[str, pl.Series]:
    """Return the three columns of the source or of the target."""
    names = pl.Series([country.name for country in config.countries] + [""])
    stateless = role == len(CAST) - 1
    return {
        f"{side} Name": _actors(config).gather(place * len(CAST) + role),
        f"{side} Sectors": _sectors(rng, role),
        f"{side} Country": names.gather(np.where(stateless, len(config.countries), place)),
    }


def _per_story(rng: np.random.Generator, n: int, story: Ints) -> Ints:
    """Draw one of `n` for every story, the first the likeliest; one entry a report."""
    return _pick_one(rng, 1.0 / np.arange(1, n + 1), int(story[-1]) + 1)[story]


def _location(
    rng: np.random.Generator, config: SampleConfig, country: Ints, story: Ints
) -> dict[str, pl.Series]:
    """Return the columns of the place, the same throughout a story."""
    cities = pl.Series([city for country in config.countries for city in country.cities])
    at = country * 3 + _per_story(rng, 3, story)
    city = cities.gather(at)
    return {
        "City": city,
        "District": "Central " + city.str.strip_chars(),
        "Province": city.str.strip_chars() + " Province",
        "Country": pl.Series([country.name for country in config.countries]).gather(country),
        "Latitude": pl.Series([f"{12 + 0.9731 * i:.4f}" for i in range(len(cities))]).gather(at),
        "Longitude": pl.Series([f"{-7 + 1.4142 * i:.4f}" for i in range(len(cities))]).gather(at),
    }


def _ids(rng: np.random.Generator, day: Ints) -> Ints:
    """Return the reports' numbers; one in 200 is also the number of a report some days before."""
    number, back = np.arange(len(day)), 1000
    reused = (rng.random(len(day)) < 0.005) & (number >= back) & (np.roll(day, back) != day)
    return 24_000_000 + np.where(reused, number - back, number)


def _blank(rng: np.random.Generator, events: pl.DataFrame) -> pl.DataFrame:
    """Empty some fields at random, at the rates of `_BLANKS`."""
    hit = {name: pl.Series(rng.random(events.height) < rate) for name, rate in _BLANKS.items()}
    return events.with_columns(
        pl.when(rows).then(pl.lit("")).otherwise(pl.col(name)).alias(name)
        for name, rows in hit.items()
    )


def generate_events(config: SampleConfig) -> pl.DataFrame:
    """Generate the events: what a perfect reading of the sample's files would give.

    Parameters
    ----------
    config : SampleConfig
        Seed, countries, crises and period.

    Returns
    -------
    pl.DataFrame
        The 20 columns of ICEWS as text, in order of date; a missing value is empty. No key
        (Event ID, Event Date) occurs twice. Some cities keep a stray space, as in ICEWS.

    Examples
    --------
    >>> events = generate_events(SampleConfig(n_years=1, scale=0.1))
    >>> events.width, events["Event Date"].min(), events["Country"].n_unique()
    (20, '2015-01-01', 12)
    """
    rng = np.random.default_rng(config.seed)
    drawn = _draw(rng, config)
    kinds = _event_types()[drawn["code"]]
    story = _stories(rng, drawn)
    first = np.datetime64(date(config.first_year, 1, 1), "D")
    n = len(story)
    columns = {
        "Event ID": pl.Series(_ids(rng, drawn["day"])),
        "Event Date": pl.Series(first + drawn["day"]),
        **_side(rng, config, "Source", drawn["source"], drawn["source_role"]),
        "Event Text": kinds["name"],
        "CAMEO Code": kinds["code"],
        "Intensity": kinds["intensity"].cast(pl.String).str.strip_suffix(".0"),
        **_side(rng, config, "Target", drawn["target"], drawn["target_role"]),
        "Story ID": pl.Series(48_000_000 + story),
        "Sentence Number": pl.Series(1 + _pick_one(rng, 1.0 / np.arange(2, 8), n)),
        "Publisher": pl.Series(PUBLISHERS).gather(_per_story(rng, len(PUBLISHERS), story)),
        **_location(rng, config, drawn["country"], story),
    }
    events = pl.DataFrame(columns).select(pl.col(ICEWS_COLUMNS).cast(pl.String))
    return _blank(rng, events)
