"""Laws of the ontologies: every code has a place, and is told apart from every other."""

import re
from typing import Any, get_args

import polars as pl
import pytest

from features.cameo import QUAD_CLASSES, cameo_table, event_code_type
from features.ontology import MODE_SEPARATOR, Ontology, OntologyName, ontology

PLOVER = list(ontology("plover").table.iter_rows(named=True))
QUAD_OF_TYPE = {
    "verbal_cooperation": ("AGREE", "CONSULT", "SUPPORT", "CONCEDE"),
    "material_cooperation": ("COOPERATE", "AID", "RETREAT"),
    "verbal_conflict": ("REQUEST", "ACCUSE", "REJECT", "THREATEN"),
    "material_conflict": ("PROTEST", "SANCTION", "MOBILIZE", "COERCE", "ASSAULT"),
}
MODES = {
    "CONSULT": "visit third-party multilateral phone",
    "RETREAT": "withdraw release return disarm ceasefire access resign",
    "REQUEST": "assist change yield meet",
    "ACCUSE": "disapprove investigate allege",
    "REJECT": "assist change yield meet",
    "THREATEN": "restrict ban arrest relations rights expel territory violence",
    "PROTEST": "demo riot strike hunger boycott obstruct",
    "SANCTION": "convict expel withdraw discontinue",
    "MOBILIZE": "troops weapons police militia",
    "COERCE": "seize restrict ban censor curfew martial-law arrest deport withhold misinformation "
    "cyber",
    "ASSAULT": "abduct beat torture execute sexual assassinate destroy primitive firearms "
    "explosives suicide-attack aerial drone heavy-weapons crowd-control cleansing massacre "
    "unconventional sideab",
}
SCORES = {
    **{"AGREE": 4.2, "CONSULT": 2.1, "SUPPORT": 4.6, "CONCEDE": 5.0},
    **{"COOPERATE": 6.8, "AID": 7.4, "RETREAT": 7.6},
    **{"REQUEST": -5.0, "ACCUSE": -2.0, "REJECT": -4.2, "THREATEN": -5.1},
    **{"PROTEST": -6.6, "SANCTION": -5.2, "MOBILIZE": -5.3, "COERCE": -7.2, "ASSAULT": -9.3},
}

every = pytest.mark.parametrize(
    "codes", [ontology(name) for name in get_args(OntologyName)], ids=get_args(OntologyName)
)


# Of all


@every
def test_tables_have_the_same_columns_and_types(codes: Ontology) -> None:
    assert codes.table.schema == ontology("none").table.schema == cameo_table().schema
    assert codes.table.null_count().transpose().sum().item() == 0


@every
def test_codes_are_told_apart_and_sorted(codes: Ontology) -> None:
    of_table = codes.table["code"].to_list()
    assert of_table == sorted(set(of_table))
    assert codes.has_codes == bool(of_table)


@every
def test_the_code_type_holds_every_code_of_the_table_and_keeps_it(codes: Ontology) -> None:
    typed = codes.table["code"].cast(codes.code_type)
    assert typed.cast(pl.String).to_list() == codes.table["code"].to_list()
    if codes.has_codes:  # so that the number behind a code is its row
        assert typed.to_physical().to_list() == list(range(codes.table.height))


@every
def test_a_root_is_a_code_of_its_own_with_the_name_and_quad_class_it_gives_its_codes(
    codes: Ontology,
) -> None:
    roots = {row["code"]: row for row in codes.roots.iter_rows(named=True)}
    assert set(roots) == set(codes.table["root"])
    for row in codes.table.iter_rows(named=True):
        assert row["code"].startswith(row["root"])
        assert row["root_name"] == roots[row["root"]]["name"]
        assert row["quad"] == roots[row["root"]]["quad"]


@every
def test_intensities_and_quad_classes_are_in_their_range(codes: Ontology) -> None:
    assert codes.table["intensity"].is_between(-10, 10).all()
    assert set(codes.table["quad"]) == (set(QUAD_CLASSES) if codes.has_codes else set())


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    name: Any = "goldstein"
    with pytest.raises(ValueError, match=r"ontology='goldstein' is unknown.*cameo, plover, none"):
        ontology(name)


# Of each


def test_cameo_is_the_table_of_cameo() -> None:
    assert ontology("cameo").table.equals(cameo_table())
    assert ontology("cameo").code_type == event_code_type()
    assert ontology("cameo").roots["code"].to_list() == [f"{root:02}" for root in range(1, 21)]


def test_without_an_ontology_any_text_is_a_code() -> None:
    assert ontology("none").code_type == pl.String()
    assert pl.Series(["Battles", "ça"]).cast(ontology("none").code_type).to_list() == [
        "Battles",
        "ça",
    ]


def test_plover_has_the_types_of_the_codebook_in_their_quad_classes() -> None:
    wanted = {kind: quad for quad, kinds in QUAD_OF_TYPE.items() for kind in kinds}
    assert len(wanted) == 16
    roots = ontology("plover").roots
    assert dict(roots.select("code", "quad").iter_rows()) == wanted


def test_plover_has_the_modes_of_the_codebook() -> None:
    wanted = {
        f"{kind}{MODE_SEPARATOR}{mode}" for kind, modes in MODES.items() for mode in modes.split()
    }
    assert {row["code"] for row in PLOVER if row["code"] != row["root"]} == wanted


def test_a_plover_code_is_its_type_in_capitals_and_its_mode_in_small_letters() -> None:
    for row in PLOVER:
        assert re.fullmatch(r"[A-Z]+(:[a-z-]+)?", row["code"])
        assert row["code"].split(MODE_SEPARATOR)[0] == row["root"]


def test_a_plover_code_has_its_types_score_in_the_codebook() -> None:
    assert {row["root"] for row in PLOVER} == set(SCORES)
    for row in PLOVER:
        assert row["intensity"] == pytest.approx(SCORES[row["root"]])


def test_the_sign_of_a_plover_score_is_that_of_its_quad_class() -> None:
    for row in PLOVER:
        assert (row["intensity"] > 0) == row["quad"].endswith("cooperation")


def test_names_of_plover_codes_tell_them_apart() -> None:
    assert len({row["name"].lower() for row in PLOVER}) == len(PLOVER)
