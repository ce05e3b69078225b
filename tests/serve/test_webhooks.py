"""Webhooks with the official client: made, signed, checked, tried again, kept from private machines."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import openai
import pytest
import standardwebhooks

from metier.serve.database import connect
from metier.serve.keys import Caller
from metier.serve.refusal import Refusal
from metier.serve.tables import DELIVERIES
from metier.serve.webhooks import EVENTS, Webhooks
from tests.serve.workshop import Shop, application

ANN, BOB = (Caller(id=name, scopes=frozenset({"train"})) for name in ("ann", "bob"))
DONE = "fine_tuning.job.succeeded"


@dataclass
class Ear:
    """A server that hears webhooks; `status` is what it answers."""

    url: str = ""
    place: str = ""
    status: int = 200
    heard: list[tuple[dict[str, str], str]] = field(default_factory=list)


@pytest.fixture
def ear() -> Iterator[Ear]:
    ear = Ear()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            ear.heard.append((dict(self.headers), body))
            self.send_response(ear.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *given: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    ear.place = f"127.0.0.1:{server.server_address[1]}"
    ear.url = f"http://{ear.place}/hook"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield ear
    server.shutdown()
    thread.join()
    server.server_close()


def made(webhooks: Webhooks, url: str, caller: Caller = ANN, **changes: Any) -> dict[str, Any]:
    return webhooks.create(caller, {"name": "n", "url": url, "event_types": [DONE]} | changes)


def tell(webhooks: Webhooks, folder: Path, event: str = DONE, owner: str = "ann") -> None:
    with connect(folder).begin() as connection:
        webhooks.tell(connection, owner, event, "ftjob-1")


def test_the_official_client_and_the_reference_believe_what_is_sent(ear: Ear, tmp_path: Path) -> None:
    webhooks = Webhooks(connect(tmp_path), (ear.place,))
    endpoint = made(webhooks, ear.url)
    made(webhooks, ear.url, BOB)
    tell(webhooks, tmp_path)
    tell(webhooks, tmp_path, "fine_tuning.job.failed")
    assert webhooks.deliver(time.time()) == 1
    ((headers, body),) = ear.heard
    client = openai.OpenAI(api_key="x", webhook_secret=endpoint["signing_secret"])
    event = client.webhooks.unwrap(body, headers)
    assert (event.type, event.data.id) == (DONE, "ftjob-1")  # pyrefly: ignore
    assert standardwebhooks.Webhook(endpoint["signing_secret"]).verify(body, headers)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(body.replace("ftjob-1", "ftjob-2"), headers)
    assert webhooks.deliver(time.time()) == 0


def test_what_does_not_arrive_is_tried_again_also_after_a_restart_and_given_up_at_last(
    ear: Ear, tmp_path: Path
) -> None:
    webhooks = Webhooks(connect(tmp_path), (ear.place,))
    made(webhooks, ear.url)
    tell(webhooks, tmp_path)
    ear.status, now = 302, time.time()
    assert webhooks.deliver(now) == 0
    assert webhooks.deliver(now + 4) == 0
    assert len(ear.heard) == 1
    ear.status = 204
    assert Webhooks(connect(tmp_path), (ear.place,)).deliver(now + 6) == 1
    assert len({headers["webhook-id"] for headers, _ in ear.heard}) == 1
    ear.status = 500
    tell(webhooks, tmp_path)
    for days in range(1, 12):
        webhooks.deliver(now + days * 86_400)
    with connect(tmp_path).connect() as connection:
        states = sorted((row.state, row.tries) for row in connection.execute(DELIVERIES.select()).all())
    assert states == [("arrived", 2), ("lost", 8)]


def test_a_secret_may_be_changed_while_the_old_one_still_counts(ear: Ear, tmp_path: Path) -> None:
    webhooks = Webhooks(connect(tmp_path), (ear.place,))
    first = made(webhooks, ear.url)
    second = webhooks.rotate(ANN, first["id"], keep=True)
    assert webhooks.test(ANN, first["id"], DONE)["status_code"] == 200
    headers, body = ear.heard[-1]
    for secret in (first["signing_secret"], second["signing_secret"]):
        assert standardwebhooks.Webhook(secret).verify(body, headers)
    webhooks.rotate(ANN, first["id"], keep=False)
    webhooks.test(ANN, first["id"], DONE)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(second["signing_secret"]).verify(ear.heard[-1][1], ear.heard[-1][0])


def test_nobody_points_a_secret_of_others_at_themselves(ear: Ear, tmp_path: Path) -> None:
    webhooks = Webhooks(connect(tmp_path), (ear.place, "127.0.0.1:1"))
    endpoint = made(webhooks, ear.url)
    for work in (
        lambda: webhooks.get(BOB, endpoint["id"]),
        lambda: webhooks.update(BOB, endpoint["id"], {"url": ear.url}),
        lambda: webhooks.rotate(BOB, endpoint["id"], keep=True),
        lambda: webhooks.test(BOB, endpoint["id"], DONE),
        lambda: webhooks.remove(BOB, endpoint["id"]),
    ):
        with pytest.raises(Refusal, match="no webhook endpoint"):
            work()
    assert webhooks.all(BOB) == []
    assert "signing_secret" not in webhooks.get(ANN, endpoint["id"])
    before = webhooks.get(ANN, endpoint["id"])["signing_secret_hint"]
    same = webhooks.update(ANN, endpoint["id"], {"name": "other", "event_types": list(EVENTS)})
    assert (same["name"], same["signing_secret_hint"]) == ("other", before)
    moved = webhooks.update(ANN, endpoint["id"], {"url": "http://127.0.0.1:1/"})
    assert moved["signing_secret_hint"] != before
    assert webhooks.remove(ANN, endpoint["id"])["deleted"]


def test_hosts_of_the_own_network_are_called_where_the_settings_list_them(ear: Ear, shop: Shop, tmp_path: Path) -> None:
    body = {"name": "n", "url": ear.url, "event_types": [DONE]}
    for hosts, status in (([], 400), ([ear.place], 200)):
        with application(shop, store=tmp_path, webhook_hosts=hosts) as client:
            made = client.post("/v1/webhook_endpoints", json=body, headers={"host": "localhost"})
            assert made.status_code == status


@pytest.mark.parametrize("url", ["https://127.0.0.1/x", "http://example.com/", "https://169.254.169.254/", "x"])
def test_an_endpoint_in_a_private_network_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal) as refused:
        made(Webhooks(connect(tmp_path), ()), url)
    assert (refused.value.status, refused.value.param) == (400, "url")


def test_one_that_became_private_later_is_not_called(ear: Ear, tmp_path: Path) -> None:
    made(Webhooks(connect(tmp_path), (ear.place,)), ear.url)
    strict = Webhooks(connect(tmp_path), ())
    tell(strict, tmp_path)
    assert strict.deliver(time.time()) == 0
    assert ear.heard == []
    with connect(tmp_path).connect() as connection:
        row = connection.execute(DELIVERIES.select()).one()
    assert "not encrypted" in row.error
    assert json.loads(row.body)["type"] == DONE
