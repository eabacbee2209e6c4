"""What is served is what was reported: by both modalities, by one alone, by none, and of zero-shot labels."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_matrix, load_npz

from mufin_model.artefacts import Workspace, read_json, write_json
from mufin_model.catalog import synthetic
from mufin_model.catalog.catalog import Catalog
from mufin_model.evaluation.metrics import top_k, without
from mufin_model.inference import views
from mufin_model.release.ground import queries
from mufin_model.release.model import Model
from mufin_model.release.queries import Query
from tests.conftest import VERBS, Small, small_settings

FIRST = 3
"""Labels compared of each item."""


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """A catalogue some of whose items lack a text, pictures or, of the test, both halves by turns."""
    small = Small(Workspace(tmp_path_factory.mktemp("views")), small_settings("predict.top_k=30"))
    folder = small.workspace.catalog(small.dataset)
    synthetic.write(folder, items=200, seed=3)
    items = pl.read_parquet(folder / "items.parquet").with_row_index("n")
    nothing = pl.lit([], dtype=pl.List(pl.String))
    items = items.with_columns(
        text=pl.when(pl.col("n") % 5 == 1).then(pl.lit("")).otherwise("text"),
        image_paths=pl.when(pl.col("n") % 5 == 2).then(nothing).otherwise("image_paths"),
    )
    items.drop("n").write_parquet(folder / "items.parquet")
    small.run(*VERBS, "evaluate", "release")
    return small


@pytest.fixture(scope="module")
def model(released: Small) -> Model:
    return Model(released.noun("released_model"))


@pytest.fixture(scope="module")
def asked(released: Small) -> tuple[Catalog, list[Query]]:
    catalog = Catalog.load(released.noun("raw_descriptors"))
    return catalog, queries(catalog, catalog.rows("test"))


def firsts(scores: csr_matrix) -> list[list[int]]:
    return top_k(csr_matrix(scores), FIRST)[0].tolist()


def reported(released: Small, name: str) -> csr_matrix:
    return csr_matrix(load_npz(released.noun("predictions") / f"{name}.npz"))


def served(model: Model, catalog: Catalog, asked: list[Query]) -> csr_matrix:
    return without(model.scores(asked, 30), catalog.filters("test"))


def agree(ours: list[list[int]], theirs: list[list[int]]) -> float:
    """The share of items with the same labels in the same order: another batch may swap near ties of a few."""
    return float(np.mean([one == other for one, other in zip(ours, theirs, strict=True)]))


MASKS: dict[str, Callable[[Query], Query]] = {
    "mufin": lambda query: query,
    "text_only": lambda query: Query(query.text),
    "image_only": lambda query: Query("", query.pictures),
}


@pytest.mark.parametrize("name", MASKS)
def test_each_view_is_served_as_it_was_reported(name: str, model: Model, released: Small, asked: tuple) -> None:
    catalog, whole = asked
    kinds = {(bool(query.text), bool(len(query.pictures))) for query in whole}
    assert kinds == {(True, True), (True, False), (False, True)}
    some = [row for row, query in enumerate(whole) if MASKS[name](query).text or len(MASKS[name](query).pictures)]
    seen = [MASKS[name](whole[row]) for row in some]
    expected = firsts(reported(released, name)[some])
    filters = catalog.filters("test")[some]
    together = firsts(without(model.scores(seen, 30), filters))
    assert agree(together, expected) >= 0.97
    alone = [firsts(without(model.scores([query], 30), filters[[row]]))[0] for row, query in enumerate(seen)]
    assert agree(alone, expected) >= 0.97


def test_the_views_differ(released: Small) -> None:
    """Else the test above says nothing: the weights of all modalities would answer text alone otherwise."""
    told = read_json(released.noun("released_model") / "fusion.json")
    assert set(told[views.VIEWS]) == {"text", "image"}
    assert firsts(reported(released, "text_only")) != firsts(reported(released, "mufin"))


def test_an_item_that_shows_nothing_gets_labels_by_frequency(model: Model, released: Small) -> None:
    answers = model([Query(""), Query("", [])], 5)
    assert answers[0] == answers[1]
    assert len(answers[0]) == 5


def test_zero_shot_labels_are_served_as_they_were_reported(model: Model, released: Small, asked: tuple) -> None:
    catalog, whole = asked
    expected = reported(released, "zero_shot")
    assert expected.shape[1] > 3
    ids = catalog.labels["id"].to_list()
    for row, answers in enumerate(model.zero_shot(whole, FIRST)):
        assert {answer.label for answer in answers} <= set(ids[catalog.n_seen :])
        best = [ids[catalog.n_seen + label] for label in firsts(expected[[row]])[0]]
        assert [answer.label for answer in answers] == best
    assert model.zero_shot(whole[:1], FIRST)[0] == model.zero_shot(whole, FIRST)[0]


@pytest.fixture
def old(released: Small, tmp_path: Path) -> Model:
    """The release as it was before views had weights of their own."""
    folder = tmp_path / "old"
    shutil.copytree(released.noun("released_model"), folder)
    told = read_json(folder / "fusion.json")
    write_json(folder / "fusion.json", {name: told[name] for name in ("weights", "means", "deviations")})
    return Model(folder)


def test_a_release_of_one_view_still_serves(old: Model, asked: tuple) -> None:
    _, whole = asked
    assert all(len(answers) == 3 for answers in old([whole[0], Query(whole[0].text), Query("", whole[0].pictures)], 3))


def test_the_server_answers_zero_shot_labels_where_asked(model: Model) -> None:
    from mufin_model.errors import RequestError
    from mufin_model.release.requests import parse

    _, k, unseen = parse(json.dumps({"items": [{"text": "x"}], "k": 2, "zero_shot": True}).encode(), 16)
    assert (k, unseen) == (2, True)
    with pytest.raises(RequestError, match="true or false"):
        parse(json.dumps({"items": [{"text": "x"}], "zero_shot": 1}).encode(), 16)
