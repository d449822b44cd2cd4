# SPDX-License-Identifier: AGPL-3.0-or-later
"""A fresh `horde up` serves whatever comes, without ending or resting, and says at once what it
cannot do: what clients ask by default, small inputs that once failed, and requests at random."""

import base64
import dataclasses
import random
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from acceptance.client_defaults import ARTBOT, KOBOLD_LITE, KOBOLD_LITE_PICTURE, STABLE_UI
from acceptance.lots import PROMPT, SOURCES, request_by_lot
from PIL import Image
from processes import Running, data_folder

from openhorde.cli.private_horde import free_port
from openhorde.client import ANONYMOUS_KEY

CASES = Path(__file__).parents[1] / "cases"
REQUESTS = {"image": 80, "text": 60, "alchemy": 60}
AT_ONCE = 8
PATHS = {"image": "generate", "text": "generate/text", "alchemy": "interrogate"}
CHECKS_MAX = 60


@dataclass(frozen=True)
class Horde:
    """The horde that is up: where it is, its operator's key, its process and its folder."""

    url: str
    api_key: str
    process: Running
    data: Path
    client: httpx.Client

    def call(self, method: str, path: str, **given: Any) -> httpx.Response:
        """A call as the operator."""
        headers = {
            "apikey": self.api_key,
            "Content-Type": "application/json",
            "Openhorde-Extras": "1",
        }
        return self.client.request(method, f"{self.url}/api/v2/{path}", headers=headers, **given)

    def outcome(self, kind: str, body: Mapping[str, Any]) -> Any:
        """What comes of a request: its last status; None where it was refused, or it was said
        that nobody can do it."""
        answer = self.call("POST", f"{PATHS[kind]}/async", json=body)
        if answer.status_code == 400:
            assert answer.json()["message"]
            return None
        assert answer.status_code == 202, (body, answer.text)
        queued = answer.json()
        place = f"{PATHS[kind]}/status/{queued['id']}"
        if queued.get("is_possible", True) and self.comes(queued["id"]):
            return self.call("GET", place).json()
        self.call("DELETE", place)
        return None

    def comes(self, request_id: str) -> bool:
        """Wait for the end of a request, or until it is said that nobody can do it."""
        known: dict[str, str] = {}
        for _ in range(CHECKS_MAX):
            answer = self.call("GET", f"generate/check/{request_id}", params={"wait": 20} | known)
            known = {"since": answer.headers["Event-Id"]}
            checked = answer.json()
            if checked["done"] or checked["faulted"]:
                return True
            if not checked["is_possible"] and not checked["processing"]:
                return False
        raise AssertionError(f"{request_id} does not end: {checked}")

    def picture(self, generation: Mapping[str, Any]) -> Image.Image:
        """A finished picture, opened."""
        img = generation["img"]
        content = self.client.get(img).content if img.startswith("http") else base64.b64decode(img)
        with Image.open(BytesIO(content)) as picture:
            return picture.copy()


@pytest.fixture(scope="module")
def horde() -> Iterator[Horde]:
    """A fresh one, and at the end it must be as well as at the start."""
    with data_folder() as data:
        port = free_port()
        arguments = ("up", "--data", str(data / "horde"), "--port", str(port))
        up = Running(data / "up.log", *arguments, rate_limits="off")
        with up:
            said = up.wait_for_word("Ctrl-C stops everything.")
            key = said.partition("API key: ")[2].split()[0]
            with httpx.Client(timeout=120) as client:
                there = Horde(f"http://127.0.0.1:{port}", key, up, data / "horde", client)
                yield there
                assert_well(there)
            assert up.stop(signal.SIGINT) == 0


def assert_well(horde: Horde) -> None:
    """All three workers take work, and each engine was opened once."""
    workers = horde.call("GET", "workers").json()
    states = {one["type"]: (one["online"], one["maintenance_mode"]) for one in workers}
    assert states == dict.fromkeys(("image", "text", "interrogation"), (True, False))
    log = (horde.data / "logs" / "worker.log").read_text(encoding="utf-8")
    assert log.count("the engine is open") == 2, log[-5000:]
    assert "rests" not in log
    assert horde.process.lives


def check(horde: Horde, kind: str, body: Mapping[str, Any], status: Mapping[str, Any]) -> None:
    """Look at what came."""
    if kind == "alchemy":
        assert status["state"] == "done", (body, status)
        assert [form["form"] for form in status["forms"]] == [one["name"] for one in body["forms"]]
        assert all(form["result"].get(form["form"]) is not None for form in status["forms"])
        return
    assert not status["faulted"], (body, status)
    params = body["params"]
    assert len(status["generations"]) == params.get("n", 1)
    for one in status["generations"]:
        if kind == "image":
            asked = (params.get("width", 512), params.get("height", 512))
            assert horde.picture(one).size == asked, body
        elif not (params.get("stop_sequence") or params.get("singleline")):
            assert one["text"], body


def test_requests_at_random_are_served_or_refused_at_once(horde: Horde) -> None:
    rolls = random.Random(9)
    asked = [
        (kind, request_by_lot(kind, rolls))
        for kind, count in REQUESTS.items()
        for _ in range(count)
    ]
    rolls.shuffle(asked)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        outcomes = list(threads.map(lambda one: horde.outcome(*one), asked))
    served: Counter[str] = Counter()
    for (kind, body), status in zip(asked, outcomes, strict=True):
        if status is not None:
            check(horde, kind, body, status)
            served[kind] += 1
    assert all(served[kind] > count / 3 for kind, count in REQUESTS.items()), served


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        ("text", KOBOLD_LITE, ["tokens were read", "stories of coloured shapes"]),
        (
            "image",
            KOBOLD_LITE_PICTURE,
            ["stands in for stable_diffusion", "enlarged to 512x512", "shapes only"],
        ),
        ("image", STABLE_UI, ["enlarged to 512x512", "shapes only"]),
    ],
)
def test_what_clients_ask_by_default_is_served_and_said(
    horde: Horde, kind: str, body: dict[str, Any], told: list[str]
) -> None:
    status = horde.outcome(kind, body)
    assert status is not None
    check(horde, kind, body, status)
    (generation,) = status["generations"]
    assert generation["model"] in body["models"]
    said = " ".join(note.get("ref") or "" for note in generation["gen_metadata"])
    for words in told:
        assert words in said


def test_what_clients_ask_by_default_needs_no_account(horde: Horde) -> None:
    anybody = dataclasses.replace(horde, api_key=ANONYMOUS_KEY)
    for kind, body in (("text", KOBOLD_LITE), ("image", KOBOLD_LITE_PICTURE)):
        status = anybody.outcome(kind, body)
        assert status is not None
        check(horde, kind, body, status)


def test_what_nobody_can_do_is_said_at_once(horde: Horde) -> None:
    queued = horde.call("POST", "generate/async", json=ARTBOT).json()
    checked = horde.call("GET", f"generate/check/{queued['id']}").json()
    assert checked["is_possible"] is False
    horde.call("DELETE", f"generate/status/{queued['id']}")


def test_pictures_that_once_failed_are_served_or_refused_by_name(horde: Horde) -> None:
    params = {"width": 64, "height": 128, "steps": 4}
    for name, processing in (
        ("comfy_big_ztxt.png", "img2img"),
        ("exif_rot6.jpg", "img2img"),
        ("mask_alpha_black.png", "inpainting"),
        ("x.tiff", None),
        ("header.heic", None),
    ):
        content = base64.b64encode((CASES / name).read_bytes()).decode()
        picture = {"prompt": PROMPT, "params": params, "models": []}
        picture |= {"source_image": content, "source_processing": processing or "img2img"}
        if processing == "inpainting":
            picture |= {"source_image": SOURCES[0], "source_mask": content}
        looked_at = {"source_image": content, "forms": [{"name": "describe"}]}
        for kind, body in (("image", picture), ("alchemy", looked_at)):
            if processing is None:
                refused = horde.call("POST", f"{PATHS[kind]}/async", json=body)
                assert refused.status_code == 400
                assert Path(name).suffix[1:].upper() in refused.json()["message"]
                continue
            status = horde.outcome(kind, body)
            assert status is not None, name
            check(horde, kind, body, status)
            if name == "exif_rot6.jpg" and kind == "alchemy":
                facts = status["forms"][0]["result"]["describe"]
                assert (facts["width"], facts["height"]) == (64, 128)


def test_bodies_that_once_failed_are_read_or_refused_by_name(horde: Horde) -> None:
    for name in ("half_emoji_request.json", "bom_request.json"):
        answer = horde.call("POST", "generate/async", content=(CASES / name).read_bytes())
        assert answer.status_code == 200, answer.text
        assert answer.json()["kudos"] > 0
    transfer = (CASES / "transfer_amount_null.json").read_bytes()
    answer = horde.call("POST", "kudos/transfer", content=transfer)
    assert answer.status_code == 400
    assert "amount" in answer.text
