"""Usual spellings of countries' names, and when two names are the same."""

import re
import unicodedata
from typing import Final

_SPELLINGS: Final = """
bolivia|bolivia, plurinational state of
bosnia and herzegovina|bosnia|bosnia-herzegovina|bosnia & herzegovina
brunei|brunei darussalam
cape verde|cabo verde
central african republic|car
comoros|comoro islands
cote d'ivoire|cote d ivoire|ivory coast
czech republic|czechia
democratic republic of congo|democratic republic of the congo|congo, democratic republic of|\
congo, the democratic republic of the|dr congo|drc|zar|congo (kinshasa)|congo-kinshasa
gambia|the gambia
guinea-bissau|guinea bissau
hong kong|hong kong sar
iran|iran, islamic republic of|islamic republic of iran
kosovo|ksv|xkx
kyrgyzstan|kyrgyz republic
laos|lao people's democratic republic|lao pdr
libya|libyan arab jamahiriya
macau|macao
macedonia|north macedonia|fyrom|the former yugoslav republic of macedonia|republic of macedonia
micronesia|micronesia, federated states of|federated states of micronesia
moldova|moldova, republic of|republic of moldova
myanmar|burma
north korea|democratic people's republic of korea|korea, democratic people's republic of|dprk
palestinian territory, occupied|occupied palestinian territory|palestine|state of palestine|\
palestinian territories|west bank and gaza|gaza
republic of congo|republic of the congo|congo, republic of|congo|congo (brazzaville)|\
congo-brazzaville
romania|rou|rom
russia|russian federation
slovakia|slovak republic
south korea|republic of korea|korea, republic of|korea
swaziland|eswatini
syria|syrian arab republic
taiwan|taiwan, province of china
tanzania|tanzania, united republic of|united republic of tanzania
timor-leste|east timor|tmp
tonga|kingdom of tonga
turkey|turkiye
united arab emirates|uae
united kingdom|uk|great britain|gb
united states|usa|us|united states of america
vatican|vatican city|holy see
venezuela|venezuela, bolivarian republic of
vietnam|viet nam
"""

_FIRST_SPELLING: Final = {
    spelling: line.partition("|")[0]
    for line in _SPELLINGS.split("\n")
    for spelling in line.split("|")
}


def name_key(name: str) -> str:
    """Return what all spellings of a name have in common.

    Case, accents, underscores and runs of whitespace make no difference, nor do the usual names
    of one country.

    Examples
    --------
    >>> name_key("  Türkiye "), name_key("TURKEY"), name_key("Burkina_Faso")
    ('turkey', 'turkey', 'burkina faso')
    """
    letters = unicodedata.normalize("NFKD", name.replace("_", " ").replace("\u2019", "'"))
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    key = re.sub(r"\s+", " ", plain).strip().casefold()
    return _FIRST_SPELLING.get(key, key)
