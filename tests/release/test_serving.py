"""The served model: its answers are those that were measured, and a switch drops no request."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from scipy.sparse import load_npz
from typer.testing import CliRunner

from mufin_model.catalog.catalog import Catalog
from mufin_model.cli import app
from mufin_model.evaluation.metrics import without
from mufin_model.release import package
from mufin_model.release import server as serving
from mufin_model.release.ground import queries
from mufin_model.release.model import Model
from mufin_model.release.queries import QueryEncoder
from mufin_model.release.release import rollback
from mufin_model.release.server import Server, Serving
from tests.conftest import PARAMS, Small

from .conftest import shelf_of

Site = Callable[..., Small]


@pytest.fixture
def small(worse: Small, site: Site) -> Small:
    """A site where the hardly trained model is released."""
    made = site(worse)
    made.run("release")
    return made


@pytest.fixture
def server(small: Small) -> Iterator[Server]:
    made = Server(Serving(shelf_of(small)), "127.0.0.1", 0)
    runs = threading.Thread(target=made.run)
    runs.start()
    yield made
    made.end()
    runs.join(30)
    assert not runs.is_alive()


def ask(server: Server, method: str, path: str, body: object = None, **headers: str | bytes) -> tuple[int, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, data if method == "POST" else None, sent)
    answer = connection.getresponse()
    told = json.loads(answer.read())
    connection.close()
    return answer.status, told


def test_answers_are_those_that_were_measured(small: Small) -> None:
    folder = small.noun("released_model")
    today = Catalog.load(small.noun("raw_descriptors"))
    asked = queries(today, today.rows("test"))
    told = without(Model(folder).scores(asked, 30), today.filters("test")).toarray()
    stored = load_npz(folder / package.SCORES).toarray()
    assert np.abs(told - stored)[stored != 0].max() < 1e-4
    assert np.array_equal(
        np.where(told == 0, -np.inf, told).argmax(1), np.where(stored == 0, -np.inf, stored).argmax(1)
    )


def test_predict_takes_texts_and_pictures(server: Server, small: Small) -> None:
    today = Catalog.load(small.noun("raw_descriptors"))
    offsets, rows = today.item_images()
    item = next(int(i) for i in today.rows("test") if offsets[i + 1] > offsets[i])
    text = today.items["text"][item]
    images = [base64.b64encode(today.images.bytes(row)).decode() for row in rows[offsets[item] : offsets[item + 1]]]
    items = [{"text": text, "images": images}, {"text": text}, {"images": images}]
    status, told = ask(server, "POST", "/predict", {"items": items, "k": 3})
    assert status == 200
    assert told["release"] == shelf_of(small).current().name
    assert [len(answers) for answers in told["items"]] == [3, 3, 3]
    both, text_alone, _ = told["items"]
    assert both != text_alone
    assert set(both[0]) == {"label", "text", "score"}
    assert both[0]["score"] >= both[1]["score"] >= both[2]["score"]
    # one item is answered as it is among others
    again = ask(server, "POST", "/predict", {"items": items[:1], "k": 3})[1]["items"][0]
    assert [one["label"] for one in again] == [one["label"] for one in both]
    assert [one["score"] for one in again] == pytest.approx([one["score"] for one in both], abs=1e-3)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"{", "the body"),
        (b"[" * 100_000, "the body"),
        ({"items": "scarf"}, "items"),
        ({"items": []}, "items"),
        ({"items": [{"text": "a"}] * 300}, "items"),
        ({"items": [{"text": "a"}], "k": 0}, "k"),
        ({"items": [{"text": "a"}], "k": True}, "k"),
        ({"items": [{"text": "a", "path": "x"}]}, "items[0]"),
        ({"items": [{"text": 3}]}, "items[0].text"),
        ({"items": [{"text": " \x00 "}]}, "items[0]"),
        ({"items": [{"images": ["/etc/passwd"]}]}, "items[0].images[0]"),
        ({"items": [{"images": ["file:///etc/passwd"]}]}, "items[0].images[0]"),
        ({"items": [{"images": [base64.b64encode(b"no picture").decode()]}]}, "items[0].images[0]"),
    ],
)
def test_a_wrong_request_is_told_by_its_place(server_of_all: Server, body: object, where: str) -> None:
    status, told = ask(server_of_all, "POST", "/predict", body)
    assert status == 400
    assert told["error"]["where"] == where
    assert told["error"]["kind"] == "RequestError"


@pytest.fixture(scope="module")
def server_of_all(good: Small, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for many questions."""
    made = good.branch(
        tmp_path_factory.mktemp("served"),
        ("ingest", "encode", "pretrain", "index", "mine", "finetune", "predict", "evaluate"),
    )
    made.run("release")
    server = Server(Serving(shelf_of(made)), "127.0.0.1", 0)
    runs = threading.Thread(target=server.run)
    runs.start()
    yield server
    server.end()
    runs.join(30)


def test_a_model_of_a_catalogue_without_pictures_takes_none(good: Small, tmp_path: Path) -> None:
    made = good.branch(tmp_path, overrides=("encode.image_backbone=handmade", "pretrain.epochs=1"))
    folder = made.workspace.catalog(made.dataset)
    folder.unlink()
    shutil.copytree(good.workspace.catalog(good.dataset), folder)
    for path in folder.glob("*.parquet"):
        table = pl.read_parquet(path)
        if "image_paths" in table.columns:
            none = pl.lit([], pl.List(pl.String)).alias("image_paths")
            table.with_columns(none).write_parquet(path)
    made.run("ingest", "encode", "pretrain")
    assert not QueryEncoder(made.noun("pretrained_model"), torch.device("cpu")).sees_pictures
    assert QueryEncoder(good.noun("pretrained_model"), torch.device("cpu")).sees_pictures


def test_other_requests(server_of_all: Server) -> None:
    server = server_of_all
    name = server.serving.front[0]
    assert ask(server, "GET", "/health") == (200, {"status": "ok", "release": name, "dataset": "demo", "trouble": ""})
    status, told = ask(server, "GET", "/release")
    assert status == 200
    assert told["release"] == name
    assert told["provenance"]["libraries"]["torch"]
    assert told["decided"]["decision"] == "promoted"
    assert "files" not in told
    assert ask(server, "GET", "/etc/passwd")[0] == 404
    assert ask(server, "POST", "/release", {})[0] == 404
    assert ask(server, "POST", "/predict", {}, Content_Type="text/plain")[0] == 415
    for length in ("99999999999", "9" * 5000, "²".encode("latin-1")):
        assert ask(server, "POST", "/predict", {}, Content_Length=length)[0] == 413
    assert ask(server, "POST", "/predict", {"items": [{"text": "scarf"}]})[0] == 200


def test_no_request_is_dropped_while_releases_switch(server: Server, small: Small, good: Small, site: Site) -> None:
    shelf = shelf_of(small)
    first = shelf.current().name
    answered: list[tuple[int, str]] = []
    troubles: list[Exception] = []
    done = threading.Event()

    def client(number: int) -> None:
        """On one connection for all, or on a new one for each request."""
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
        try:
            while not done.is_set():
                body = json.dumps({"items": [{"text": f"red vase {number}"}], "k": 2})
                connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answered.append((answer.status, json.loads(answer.read())["release"]))
                if number % 2:
                    connection.close()
        except Exception as error:
            troubles.append(error)

    def until(name: str) -> None:
        seen = threading.Event()
        for _ in range(600):
            if answered and answered[-1][1] == name:
                return
            seen.wait(0.1)
        raise AssertionError(f"{name} is never served: {server.serving.trouble}")

    clients = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for one in clients:
        one.start()
    until(first)
    site(good).run("release")
    second = shelf.current().name
    until(second)
    rollback(small.workspace, small.dataset)
    until(first)
    done.set()
    for one in clients:
        one.join(60)
    assert troubles == []
    assert {status for status, _ in answered} == {200}
    assert {name for _, name in answered} == {first, second}
    switches = [name for name, before in zip(answered[1:], answered, strict=False) if name[1] != before[1]]
    assert len(switches) >= 2


def wait_for(so: Callable[[], object]) -> None:
    """Until it is so, half a minute at most: what must be so is asserted by who waits."""
    waits = threading.Event()
    for _ in range(300):
        if so():
            return
        waits.wait(0.1)


def test_a_release_that_does_not_load_leaves_the_present_one(
    server: Server, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "RETRY_SECONDS", 0.0)
    shelf = shelf_of(small)
    name = shelf.current().name
    broken = shelf.path("broken")
    broken.mkdir()
    (broken / package.MANIFEST).write_text("{}")
    shelf.point("broken", 9)
    wait_for(lambda: server.serving.trouble)
    health = ask(server, "GET", "/health")[1]
    assert health["release"] == name
    assert "settings.json" in health["trouble"]
    assert ask(server, "POST", "/predict", {"items": [{"text": "scarf"}]})[1]["release"] == name
    # its disk is back: it is tried again
    shutil.rmtree(broken)
    shutil.copytree(shelf.path(name), broken)
    wait_for(lambda: server.serving.front[0] == "broken")
    assert ask(server, "POST", "/predict", {"items": [{"text": "scarf"}]})[1]["release"] == "broken"
    shelf.point(name, 1)
    wait_for(lambda: server.serving.front[0] == name)
    shutil.rmtree(broken)
    wait_for(lambda: not server.serving.trouble)
    assert ask(server, "GET", "/health")[1]["trouble"] == ""


def test_the_command_serves_and_ends_at_sigterm(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    root = small.workspace.root
    (root / "params.yaml").write_text(PARAMS.read_text())
    monkeypatch.setenv("MUFIN_ROOT", str(root))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told: list[dict] = []

    def client() -> None:
        waits = threading.Event()
        for _ in range(300):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                connection.request("GET", "/health")
                told.append(json.loads(connection.getresponse().read()))
                break
            except ConnectionError:
                waits.wait(0.1)
        os.kill(os.getpid(), signal.SIGTERM)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    asks = threading.Thread(target=client)
    asks.start()
    try:
        done = CliRunner().invoke(app, ["serve", "-d", small.dataset, "--port", str(port)])
    finally:
        asks.join(60)
        for number, handler in before.items():
            signal.signal(number, handler)
    assert done.exit_code == 0, done.output
    name = shelf_of(small).current().name
    assert [one["release"] for one in told] == [name]
    assert f"serving {name} of demo on http://127.0.0.1:{port}" in done.output
