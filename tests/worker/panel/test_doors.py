# SPDX-License-Identifier: AGPL-3.0-or-later
"""Nothing behind the doors is seen by who has not logged in."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from openhorde.worker.panel.doors import COOKIE, Doors
from openhorde.worker.panel.passwords import Password, choose
from openhorde.worker.panel.tries import FREE_TRIES, PAUSE_SECONDS, WAITING_MAX

CHOSEN = "a longer one of mine"
RIGHT = "correct horse battery"
ADDRESS = "http://panel.test"


async def inside(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(f"inside {scope['path']}")(scope, receive, send)


class House:
    """Doors with a password that can be changed and a clock that can be set."""

    def __init__(self) -> None:
        self.password: Password = choose(RIGHT)
        self.seconds = 0.0
        self.pauses: list[float] = []
        self.pausing = self.pausing_max = 0
        self.going_on = asyncio.Event()
        self.going_on.set()
        self.doors = Doors(
            inside, lambda: self.password, self.keep, lambda: self.seconds, self.pause
        )

    def keep(self, text: str) -> None:
        self.password = choose(text)

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.pausing += 1
        self.pausing_max = max(self.pausing, self.pausing_max)
        await self.going_on.wait()
        self.pausing -= 1

    def visitor(self, address: str = "192.0.2.1") -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.doors, client=(address, 5000))
        return httpx.AsyncClient(transport=transport, base_url=ADDRESS)


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
async def visitor(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with house.visitor() as client:
        yield client


async def log_in(client: httpx.AsyncClient, password: str = RIGHT) -> httpx.Response:
    return await client.post("/login", data={"password": password})


@pytest.mark.parametrize("path", ["/", "/config", "/gradio_api/queue/join", "/assets/index.js"])
async def test_strangers_see_only_the_login_page(visitor: httpx.AsyncClient, path: str) -> None:
    page = await visitor.get(path, headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["location"]) == (303, "/login")
    assert (await visitor.get(path)).status_code == 401
    assert (await visitor.post(path)).status_code == 401
    assert 'type="password"' in (await visitor.get("/login")).text


async def test_the_right_password_opens_and_log_out_closes(visitor: httpx.AsyncClient) -> None:
    entered = await log_in(visitor)
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    cookie = entered.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert (await visitor.get("/")).text == "inside /"
    token = visitor.cookies[COOKIE]
    assert (await visitor.post("/logout")).status_code == 303
    visitor.cookies.set(COOKIE, token)
    assert (await visitor.get("/")).status_code == 401


async def test_a_wrong_password_is_told_so(visitor: httpx.AsyncClient) -> None:
    answer = await log_in(visitor, "wrong password")
    assert answer.status_code == 403
    assert "This is not the password." in answer.text
    assert COOKIE not in visitor.cookies
    assert (await visitor.get("/")).status_code == 401


async def test_whoever_guesses_waits_and_locks_nobody_out(house: House) -> None:
    async with house.visitor() as guesser, house.visitor() as owner:
        for _ in range(FREE_TRIES):
            assert (await log_in(guesser, "wrong password")).status_code == 403
        assert not house.pauses
        assert (await log_in(guesser, "wrong password")).status_code == 403
        assert house.pauses == [PAUSE_SECONDS]
        # From the same address, right after it.
        assert (await log_in(owner)).status_code == 303
        assert house.pauses == [PAUSE_SECONDS] * 2
    async with house.visitor("192.0.2.2") as other:
        assert (await log_in(other, "wrong password")).status_code == 403
    assert house.pauses == [PAUSE_SECONDS] * 2


async def test_guesses_made_at_once_are_taken_one_at_a_time(house: House) -> None:
    async with house.visitor() as guesser:
        for _ in range(FREE_TRIES):
            await log_in(guesser, "wrong password")
        house.going_on.clear()
        tries = [asyncio.create_task(log_in(guesser, "no")) for _ in range(3 * WAITING_MAX)]
        refused = asyncio.as_completed(tries)
        for _ in range(2 * WAITING_MAX):
            assert (await next(refused)).status_code == 429
        house.going_on.set()
        answers = await asyncio.gather(*tries)
    codes = Counter(answer.status_code for answer in answers)
    assert codes == {403: WAITING_MAX, 429: 2 * WAITING_MAX}
    assert house.pausing_max == 1
    assert all(a.headers["retry-after"] == "1" for a in answers if a.status_code == 429)


async def test_a_session_ends_after_a_week_and_with_its_password(house: House) -> None:
    async with house.visitor() as visitor:
        await log_in(visitor)
        house.seconds += 7 * 24 * 3600 - 1
        assert (await visitor.get("/")).status_code == 200
        house.seconds += 1
        assert (await visitor.get("/")).status_code == 401
        await log_in(visitor)
        house.password = choose("another password")
        assert (await visitor.get("/")).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://panel.test:3000"},
        {"Origin": "null"},
    ],
)
async def test_other_pages_cannot_act_with_the_owners_cookie(
    visitor: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    await log_in(visitor)
    answer = await visitor.post("/gradio_api/queue/join", headers=headers)
    assert answer.status_code == 403
    own = {"Origin": ADDRESS}
    assert (await visitor.post("/gradio_api/queue/join", headers=own)).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/file=/etc/passwd",
        "/gradio_api/upload",
        "/gradio_api/proxy=http://example.org",
        "/gradio_api/info",
        "/gradio_api/api/predict",
        "/gradio_api/call/save",
        "/gradio_api/run/save",
        "/docs",
        "/openapi.json",
        "/monitoring",
        "/assets/../config.py",
        "/gradio_api/mcp/",
    ],
)
async def test_what_the_page_does_not_need_is_closed_to_the_owner_too(
    visitor: httpx.AsyncClient, path: str
) -> None:
    await log_in(visitor)
    request = visitor.build_request("GET", "/")
    request.url = httpx.URL(ADDRESS, raw_path=path.encode())
    assert (await visitor.send(request)).status_code == 404


async def change(client: httpx.AsyncClient, present: str, fresh: str, again: str) -> httpx.Response:
    form = {"password": present, "fresh": fresh, "again": again}
    return await client.post("/password", data=form)


async def test_the_password_is_changed_by_who_knows_it(house: House) -> None:
    async with house.visitor() as owner, house.visitor() as other:
        assert (await change(owner, RIGHT, CHOSEN, CHOSEN)).status_code == 401
        await log_in(owner)
        await log_in(other)
        assert 'name="fresh"' in (await owner.get("/password")).text
        for present, fresh, again, status, words in (
            ("wrong password", CHOSEN, CHOSEN, 403, "This is not the password."),
            (RIGHT, CHOSEN, "another text", 400, "not the same"),
            (RIGHT, "short", "short", 400, "must have 10 to 200 characters, not 5"),
        ):
            answer = await change(owner, present, fresh, again)
            assert answer.status_code == status
            assert words in answer.text
        assert house.password.matches(RIGHT)
        assert (await change(owner, RIGHT, CHOSEN, CHOSEN)).status_code == 303
        assert house.password.matches(CHOSEN)
        assert (await owner.get("/")).status_code == 200
        assert (await other.get("/")).status_code == 401


async def test_guessing_the_present_password_is_slowed_down_too(
    house: House, visitor: httpx.AsyncClient
) -> None:
    await log_in(visitor)
    for _ in range(FREE_TRIES):
        assert (await change(visitor, "wrong password", CHOSEN, CHOSEN)).status_code == 403
    assert not house.pauses
    assert (await change(visitor, RIGHT, CHOSEN, CHOSEN)).status_code == 303
    assert house.pauses == [PAUSE_SECONDS]


async def test_a_huge_form_is_refused(visitor: httpx.AsyncClient) -> None:
    assert (await log_in(visitor, "x" * 10_000)).status_code == 413


async def test_pages_may_only_speak_with_this_address(visitor: httpx.AsyncClient) -> None:
    await log_in(visitor)
    policy = (await visitor.get("/")).headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy


async def test_unusual_methods_are_refused(visitor: httpx.AsyncClient) -> None:
    assert (await visitor.delete("/")).status_code == 405
