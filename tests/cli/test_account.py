# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde status`, `horde kudos`, and what the commands have in common."""

import json
from typing import Any

import pytest
from cli.conftest import Run
from client.playing_horde import PlayingHorde, worker

from openhorde import __version__

MODEL = {
    "name": "openhorde_shapes",
    "count": 1,
    "performance": 1.0,
    "queued": 0.5,
    "jobs": 2.0,
    "eta": 65,
    "type": "image",
}


def test_status_shows_models_and_workers(run: Run, playing: PlayingHorde) -> None:
    playing.models = [MODEL]
    playing.workers = [worker(), worker(name="[Carol]", models=["a", "b", "c", "d"], online=False)]
    result = run("status")
    assert result.exit_code == 0, result.output
    assert playing.url in result.stdout
    for words in ("OK", "openhorde_shapes", "1 min 5 s", "Bob's machine", "[Carol]", "away"):
        assert words in result.stdout


def test_status_tells_the_kinds_of_work_apart(run: Run, playing: PlayingHorde) -> None:
    playing.models = [MODEL, {**MODEL, "name": "tiny/storyteller", "type": "text", "queued": 0}]
    playing.workers = [
        worker(type="interrogation", forms=["caption", "nsfw", "palette", "describe"], models=[]),
        worker(type="text", name="Bob's scribe", models=["tiny/storyteller"]),
    ]
    result = run("status")
    assert result.exit_code == 0, result.output
    cells = [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in result.stdout.splitlines()
        if line.startswith("│")
    ]
    assert cells[:3] == [
        ["pictures", "3", "1.5 megapixelsteps", "0 megapixelsteps", "1", "1"],
        ["texts", "2", "160 tokens", "40 tokens", "1", "2"],
        ["forms", "7", "", "", "2", "4"],
    ]
    assert [row[5] for row in cells[3:5]] == ["1 min 5 s", "none"]
    assert [row[:4] for row in cells[3:5]] == [
        ["openhorde_shapes", "image", "1", "0.5 megapixelsteps"],
        ["tiny/storyteller", "text", "1", "0 tokens"],
    ]
    assert [row[:4] for row in cells[5:]] == [
        ["Bob's machine", "interrogation", "online", "caption, nsfw, palette ..."],
        ["Bob's scribe", "text", "online", "tiny/storyteller"],
    ]


def test_status_of_an_empty_horde(run: Run) -> None:
    result = run("status")
    assert "Models: none online" in result.stdout
    assert "Workers: none online" in result.stdout


def test_status_as_json(run: Run, playing: PlayingHorde) -> None:
    playing.workers = [worker()]
    facts = json.loads(run("status", "--json").stdout)
    assert facts["heartbeat"]["message"] == "OK"
    assert facts["workers"][0]["name"] == "Bob's machine"


def test_kudos_shows_the_balance(run: Run, playing: PlayingHorde) -> None:
    playing.user = {"evaluating_kudos": 5.0}
    result = run("kudos")
    assert "Alice#3 has 1,234.5 kudos" in result.stdout
    assert "received" in result.stdout
    assert "held until trusted" in result.stdout
    assert json.loads(run("kudos", "--json").stdout)["kudos"] == 1234.5


def test_kudos_explain_themselves(run: Run, playing: PlayingHorde) -> None:
    result = run("kudos", "history", "-n", "2", "--before", "9-9")
    assert result.exit_code == 0, result.output
    for words in ("-7.50", "+1,334.50", "20 steps 7.5", "Bob#4", "--before 3-1"):
        assert words in result.stdout
    assert playing.calls("kudos/history")[0].query == {"limit": "2", "before": "9-9", "user": ""}
    assert json.loads(run("kudos", "history", "--json").stdout)["next"] == "3-1"


def test_status_cuts_nothing_on_a_narrow_terminal(
    run: Run, playing: PlayingHorde, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = ["this-machine alchemist", "a-model-with-a-name-as-long-as-they-come_v2.safetensors"]
    playing.models = [{**MODEL, "name": names[1], "queued": 16_384_000}]
    playing.workers = [worker(name=names[0], type="interrogation", models=[], forms=["caption"])]
    told = run("status").stdout
    assert "…" not in told
    assert "16,384,000" in told
    assert max(len(line) for line in told.splitlines()) <= 80
    columns = [line.split("│") for line in told.splitlines() if line.startswith("│")]
    firsts = "".join(cells[1].strip().replace(" ", "") for cells in columns)
    for name in names:
        assert name.replace(" ", "") in firsts


def test_the_history_can_be_added_up(run: Run, playing: PlayingHorde) -> None:
    """The balance before and after each movement; what is held stands apart."""
    playing.user = {"kudos": 991.55}

    def entry(amount: float, effect: str) -> dict[str, Any]:
        return {
            "time": "2026-07-01T12:00:00Z",
            "amount": amount,
            "effect": effect,
            "purpose": "price" if effect == "balance" else "reserve",
            "why": "Because.",
        }

    playing.history = [
        entry(5.45, "hold"),
        entry(-4.45, "balance"),
        entry(-4.0, "balance"),
        entry(-13.9, "hold"),
    ]
    told = run("kudos", "history").stdout
    rows = [
        [cell.strip() for cell in line.split("│")[2:5]]
        for line in told.splitlines()
        if line.startswith("│")
    ]
    assert rows == [
        ["", "", "+5.45"],
        ["-4.45", "991.55", ""],
        ["-4.00", "996.00", ""],
        ["", "", "-13.90"],
    ]
    assert "held:" in told


def test_kudos_are_sent(run: Run, playing: PlayingHorde) -> None:
    result = run("kudos", "send", "Bob#4", "30")
    assert "sent 30 kudos to Bob#4" in result.stdout
    run("kudos", "send", "Bob#4", "30", "--key", "rent")
    first, second = playing.calls("kudos/transfer")
    assert first.body == {"username": "Bob#4", "amount": 30}
    assert len(first.headers["idempotency-key"]) == 36
    assert second.headers["idempotency-key"] == "rent"
    assert run("kudos", "send", "Bob#4", "-3").exit_code == 2


def test_kudos_that_got_lost_on_the_way_are_sent_once(run: Run, playing: PlayingHorde) -> None:
    playing.refuse("kudos/transfer", 503, {"message": "away"}, Retry_After="0.01")
    assert run("kudos", "send", "Bob#4", "30").exit_code == 0
    first, second = playing.calls("kudos/transfer")
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


def test_a_wrong_key_is_a_sentence(run: Run) -> None:
    result = run("kudos", "--api-key", "wrong")
    assert result.exit_code == 1
    assert "No user matching sent API Key. " not in result.stdout
    assert "No user matching sent API Key." in result.stderr
    assert "--api-key" in result.stderr


def test_an_absent_horde_is_a_sentence(run: Run) -> None:
    with PlayingHorde().running() as gone:
        url = gone.url
    result = run("status", "--url", url)
    assert result.exit_code == 1
    assert url in result.stderr
    assert "make up" in result.stderr


def test_a_url_that_is_none_is_a_sentence(run: Run) -> None:
    result = run("status", "--url", "horde.example")
    assert result.exit_code == 1
    assert "must begin with http:// or https://" in result.stderr


def test_the_version(run: Run) -> None:
    assert run("--version").stdout.strip() == f"openhorde {__version__}"


@pytest.mark.parametrize(
    "command",
    [
        *("image", "caption", "nsfw", "interrogate", "text", "status", "kudos"),
        *("demo", "up", "serve", "worker", "user", "db", "ledger"),
    ],
)
def test_every_command_has_help(run: Run, command: str) -> None:
    assert f" {command} " in run("--help").stdout
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout
