"""Who is told of a failed run, and that telling never makes things worse."""

from __future__ import annotations

import json
import logging
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import dagster as dg
import pytest

from mufin_dagster import failures, notify
from mufin_dagster.settings import Automation

MESSAGE = notify.Message("retrain of demo failed", "a digit\nin line 1", {"run": "1234", "mufin/dataset": "demo"})


class Webhook(HTTPServer):
    """Keeps what it is sent; answers with `status`."""

    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Posts)
        self.received: list[tuple[dict[str, str], dict[str, object]]] = []


class _Posts(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((dict(self.headers), json.loads(body)))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class MailServer(socketserver.ThreadingTCPServer):
    """As much of SMTP as one mail takes; keeps the mails."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Mails)
        self.received: list[str] = []


class _Mails(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self._say(b"220 test")
        while line := self.rfile.readline():
            verb = line.split()[0].upper() if line.split() else b""
            if verb == b"DATA":
                self._say(b"354 go on")
                mail = b""
                while not mail.endswith(b"\r\n.\r\n"):
                    mail += self.rfile.readline()
                self.server.received.append(mail.decode().replace("\r\n", "\n"))
            self._say(b"221 bye" if verb == b"QUIT" else b"250 test")
            if verb == b"QUIT":
                return

    def _say(self, line: bytes) -> None:
        self.wfile.write(line + b"\r\n")


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with Webhook() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MUFIN_WEBHOOK_URL", f"http://127.0.0.1:{server.server_address[1]}/secret-path")
        monkeypatch.setenv("MUFIN_WEBHOOK_TOKEN", "secret-token")
        yield server
        server.shutdown()


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with MailServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_webhook_gets_json_and_its_token(webhook: Webhook):
    assert notify.send(Automation(notify=["webhook"]), MESSAGE) == []
    ((headers, told),) = webhook.received
    assert headers["Authorization"] == "Bearer secret-token"
    assert told["title"] == MESSAGE.title
    assert told["text"] == "retrain of demo failed\na digit\nin line 1"
    assert told["facts"] == MESSAGE.facts


def test_a_mail_tells_reason_and_facts(mail: MailServer):
    settings = Automation(notify=["email"], mail_port=mail.server_address[1], mail_to=["ops@shop.test", "me@shop.test"])
    assert notify.send(settings, MESSAGE) == []
    (told,) = mail.received
    assert "Subject: retrain of demo failed\n" in told
    assert "To: ops@shop.test, me@shop.test\n" in told
    assert "a digit\nin line 1\n\nrun: 1234\nmufin/dataset: demo\n" in told


def test_the_log_is_the_default(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.ERROR, "mufin"):
        assert notify.send(Automation(), MESSAGE) == []
    assert "retrain of demo failed\na digit" in caplog.text


def test_a_way_that_fails_keeps_no_other_from_being_tried(webhook: Webhook, mail: MailServer):
    webhook.status = 500
    settings = Automation(notify=["webhook", "email"], mail_port=mail.server_address[1], mail_to=["ops@shop.test"])
    assert notify.send(settings, MESSAGE) == ["webhook: the server answered 500"]
    assert len(webhook.received) == notify.ATTEMPTS
    assert len(mail.received) == 1


def test_troubles_hold_no_secret(webhook: Webhook, monkeypatch: pytest.MonkeyPatch):
    webhook.server_close()
    webhook.shutdown()
    settings = Automation(notify=["webhook", "email"], mail_port=webhook.server_address[1], mail_to=["ops@shop.test"])
    troubles = notify.send(settings, MESSAGE)
    assert len(troubles) == 2
    assert "secret" not in " ".join(troubles)
    monkeypatch.delenv("MUFIN_WEBHOOK_URL")
    assert notify.send(Automation(notify=["webhook", "email"]), MESSAGE) == [
        "webhook: MUFIN_WEBHOOK_URL is not set to an http address",
        "email: automation.mail_to is empty",
    ]


def test_a_password_is_never_sent_in_the_clear(mail: MailServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MUFIN_MAIL_USER", "me")
    settings = Automation(notify=["email"], mail_port=mail.server_address[1], mail_to=["ops@shop.test"])
    (trouble,) = notify.send(settings, MESSAGE)
    assert "SMTPNotSupportedError" in trouble
    assert mail.received == []


@pytest.mark.parametrize("status", [200, 500])
def test_the_sensor_tells_of_a_failed_run_and_survives_a_server_that_fails(
    webhook: Webhook, instance: dg.DagsterInstance, status: int
):
    webhook.status = status

    @dg.op
    def broken() -> None:
        raise dg.Failure("a digit in line 1", allow_retries=False)

    @dg.op(ins={"before": dg.In(dg.Nothing)})
    def after() -> None: ...

    @dg.job(tags={"mufin/dataset": "demo", "mufin/job": "refresh", "mufin/data": "abc"})
    def work() -> None:
        after(broken())

    done = work.execute_in_process(instance=instance, raise_on_error=False)
    failure = next(event for event in done.all_events if event.is_failure and not event.is_step_event)
    sensor = failures.sensor(Automation(notify=["webhook"]))
    context = dg.build_run_status_sensor_context("failures", failure, instance, done.dagster_run)
    sensor(context.for_run_failure())
    told = webhook.received[0][1]
    assert told["title"] == f"mufin: refresh of demo failed (run {done.run_id[:8]})"
    assert "broken: a digit in line 1" in told["text"]
    assert "after" not in told["text"]
    assert told["facts"] == {"run": done.run_id, "job": "refresh", "mufin/dataset": "demo", "mufin/data": "abc"}
    assert len(webhook.received) == (1 if status == 200 else notify.ATTEMPTS)
