"""The invented world of the sample: its countries, who acts in them, and the planted crises."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import ClassVar, Final


@dataclass(frozen=True, kw_only=True)
class Country:
    """An invented country; its neighbours are those next to it in `COUNTRIES`, a ring."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    events_per_week: float
    cities: tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class Crisis:
    """A planted break: from `start` to `end`, both included, `country` behaves differently.

    `codes` pairs CAMEO codes with the share of the country's events that each makes up on top of
    the usual mixture; the shares sum to less than 1, and what is left is the usual mixture.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    country: str
    start: date
    end: date
    nature: str
    codes: tuple[tuple[str, float], ...]
    volume: float = 1.0  # factor on the usual number of events
    against: str = ""  # the country that most of the events aim at, if there is one

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError(f"a crisis ends before it starts: {self.start} to {self.end}")
        if not 0 < sum(share for _, share in self.codes) < 1:
            raise ValueError(f"the shares of a crisis sum to more than 0, less than 1: {self}")


COUNTRIES: Final = tuple(
    Country(name=name, events_per_week=weekly, cities=cities)
    for name, weekly, cities in (
        ("Republic of Valmora", 120.0, ("Valmora City", "Lisenne", "Port Auber")),
        ("Kestria", 53.0, ("Kestrel Bay", "Dornach", "Umbel")),
        ("Northern Sarmand", 38.0, ("Sarmand", " Tarrow", "Hask")),
        ("Ardovia, Republic of", 29.0, ("Ardov", "Velna", "Brisk")),
        ("Belmark", 26.0, ("Belmarkt", "Ostholm", "Lyse")),
        ("Côte d'Ambre", 20.0, ("Saint-Élan", "Ambreville", "Port-Sérac")),
        ("Galdonia", 16.0, ("Galdon", "Mirepost", "Teth")),
        ("Zuhara", 15.0, ("Zuhar", "Qasr Adin", " Wadi Sem")),
        ("Oriel Islands", 13.0, ("Oriel", "Gannet Harbour", "Skerry")),
        ("Meridia", 12.0, ("São Tervo", "Campo Real", "Laguna")),
        ("Pelagia", 11.0, ("Pelagos", "Nerith", "Anthe")),
        ("Imbria", 10.0, ("Imber", "Solway Cross", "Cairn")),
    )
)

_WAR = (("190", 0.22), ("194", 0.14), ("195", 0.12), ("193", 0.1), ("154", 0.07), ("138", 0.07))
_PEACE = (("057", 0.2), ("0871", 0.14), ("046", 0.12), ("0841", 0.1), ("0356", 0.08))

CRISES: Final = (
    Crisis(
        country="Côte d'Ambre",
        start=date(2015, 9, 14),
        end=date(2015, 9, 27),
        nature="a coup: the army takes the capital, declares an emergency and arrests ministers",
        codes=(("1724", 0.16), ("173", 0.15), ("154", 0.14), ("192", 0.12), ("1723", 0.1)),
        volume=4.0,
    ),
    Crisis(
        country="Ardovia, Republic of",
        start=date(2016, 5, 2),
        end=date(2016, 5, 29),
        nature="mass protests for a change of leadership, met with threats and repression",
        codes=(("141", 0.22), ("1411", 0.14), ("145", 0.1), ("175", 0.08), ("137", 0.06)),
        volume=2.5,
    ),
    Crisis(
        country="Kestria",
        start=date(2017, 2, 6),
        end=date(2017, 2, 26),
        nature="a border war with Northern Sarmand",
        codes=_WAR,
        volume=3.0,
        against="Northern Sarmand",
    ),
    Crisis(
        country="Northern Sarmand",
        start=date(2017, 2, 6),
        end=date(2017, 2, 26),
        nature="a border war with Kestria",
        codes=_WAR,
        volume=4.0,
        against="Kestria",
    ),
    Crisis(
        country="Kestria",
        start=date(2018, 5, 7),
        end=date(2018, 5, 20),
        nature="a peace deal with Northern Sarmand: a cooperative break",
        codes=_PEACE,
        volume=2.0,
        against="Northern Sarmand",
    ),
    Crisis(
        country="Northern Sarmand",
        start=date(2018, 5, 7),
        end=date(2018, 5, 20),
        nature="a peace deal with Kestria: a cooperative break",
        codes=_PEACE,
        volume=2.5,
        against="Kestria",
    ),
    Crisis(
        country="Belmark",
        start=date(2018, 8, 6),
        end=date(2018, 9, 2),
        nature="a quiet crackdown: sanctions and seizures in place of talk, no more events",
        codes=(("172", 0.22), ("1711", 0.16), ("1721", 0.14), ("174", 0.12)),
    ),
    Crisis(
        country="Zuhara",
        start=date(2018, 12, 10),
        end=date(2018, 12, 16),
        nature="an insurgent offensive: hostages, bombings and an assassination",
        codes=(("181", 0.2), ("183", 0.18), ("186", 0.12), ("1831", 0.12)),
        volume=5.0,
    ),
)


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """What to generate; crises outside the years have no effect.

    Examples
    --------
    >>> SampleConfig(n_years=3).days
    1096
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    seed: int = 2018
    countries: tuple[Country, ...] = COUNTRIES
    crises: tuple[Crisis, ...] = CRISES
    first_year: int = 2015
    n_years: int = 4
    daily_days: int = 28  # the last days, which come as daily files
    scale: float = 1.0  # factor on every country's volume

    def __post_init__(self) -> None:
        if not 3 <= self.daily_days <= 365:
            raise ValueError(f"daily_days is from 3 to 365, not {self.daily_days}")
        names = {country.name for country in self.countries}
        named = {name for c in self.crises for name in (c.country, c.against) if name}
        if unknown := sorted(named - names):
            raise ValueError(f"crises name countries that are not in `countries`: {unknown}")

    @property
    def days(self) -> int:
        """Number of days from the first to the last."""
        return (date(self.first_year + self.n_years, 1, 1) - date(self.first_year, 1, 1)).days

    @property
    def daily_start(self) -> date:
        """First day that daily files cover."""
        return date(self.first_year + self.n_years, 1, 1) - timedelta(days=self.daily_days)

    def span(self, crisis: Crisis) -> tuple[slice, int]:
        """Positions of a crisis in a (day, country) surface."""
        start, end = (
            min(max((day - date(self.first_year, 1, 1)).days, 0), self.days)
            for day in (crisis.start, crisis.end + timedelta(days=1))
        )
        return slice(start, end), [c.name for c in self.countries].index(crisis.country)


# The cast of every country: name, sectors, weight. "@" is a person; the last has no country.
CAST: Final = (
    ("{}", "", 0.14),
    ("Citizen ({})", "Social,General Population / Civilian / Social", 0.16),
    ("Police ({})", "Government,Police", 0.12),
    ("Government ({})", "Government", 0.08),
    ("Military ({})", "Government,Military", 0.08),
    ("Protester ({})", "Dissident,Protestors / Popular Opposition / Mobs", 0.06),
    ("Media Personnel ({})", "Social,Media", 0.05),
    ("@", "Executive Office,Executive,Government,Elite,Parties,(National) Major Party", 0.13),
    ("@", "Foreign Ministry,Executive,Government,Ideological,Center Right", 0.08),
    (
        "@",
        "Parties,Opposition Major Party (Out Of Government),Ideological,Center Left,Parties",
        0.065,
    ),
    ("United Nations", "International Government Organization,Global", 0.035),
)
GIVEN: Final = ("Joseph", "Élise", "Tomas", "Mirela", "Anton", "Zoë", "Viktor", "Ines", "Karim")
FAMILY: Final = (
    "Hallan Orsk Dévran Malik Serrano Voss Tarn Ibekwe Lund Castellane Rook Amari Brandt"
)
PUBLISHERS: Final = (
    "Kestrel Wire",
    "Valmora Times",
    "The Ambre Post",
    "Reuters News",
    "Xinhua",
    "All Africa",
)
