# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the panel shows of the running worker, as HTML. Every text from outside is escaped."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape

from openhorde.worker.agent.live import (
    EngineView,
    FaultView,
    HourView,
    JobView,
    KindView,
    MessageView,
    WorkerState,
)
from openhorde.worker.agent.narrowing import skipped_sentences
from openhorde.worker.backends.base import InMemory
from openhorde.worker.panel.chart import Bar, bars_svg, number_text
from openhorde.worker.panel.log_tail import LogLine
from openhorde.worker.settings import WorkerSettings

HOUR_SECONDS = 3600
HOURS_SHOWN = 24
FAULTS_SHOWN = 20
MESSAGES_SHOWN = 10
PHASES = {
    "resting": ("resting", "Not asking for work"),
    "opening": ("opening", "Starting its engines"),
    "working": ("working", "Taking work"),
    "draining": ("draining", "Finishing what is in hand"),
}
IN_MAINTENANCE = ("in maintenance", "Given its owner's own requests only")
KIND_WORDS = {
    "resting": "resting",
    "working": "working",
    "idle": "waiting for work",
    "maintenance": "in maintenance",
    "trouble": "in trouble",
    "ended": "ended",
}
BAD = ("maintenance", "trouble", "ended", "lost")


def status_html(state: WorkerState, settings: WorkerSettings, now: float) -> str:
    """The head: who this is, what it is doing, and what it has earned since it was started."""
    word, sentence = PHASES[state.phase]
    mood: str = state.phase
    if state.phase == "working" and state.maintenance:
        (word, sentence), mood = IN_MAINTENANCE, "bad"
    figures = (
        (number_text(state.kudos, 1), "kudos"),
        (str(state.done), "done"),
        (str(state.faulted), "faulted"),
        (str(len(state.jobs)), "in hand"),
    )
    return (
        f'<div class="head"><h2>{escape(settings.worker_name)}</h2>'
        f'<span class="badge {mood}" id="phase">{word}</span>'
        f"<span class='dim'>{sentence}, for {duration_text(now - state.since)}; "
        f"horde: {escape(settings.horde_url)}</span></div>"
        f'<div class="figures">{"".join(_figure(*figure) for figure in figures)}</div>'
    )


def jobs_html(jobs: Sequence[JobView], now: float) -> str:
    """The jobs in hand with their progress."""
    rows = []
    for job in jobs:
        share = job.step / job.steps if job.steps else 0.0
        where = f"{job.stage} on {job.engine}" if job.engine else job.stage
        steps = f"{job.step} of {job.steps}" if job.steps else ""
        rows.append(
            f'<li class="job"><div class="line"><b>{escape(job.model)}</b>'
            f'<span class="dim">{escape(job.kind)}, {escape(where)}, '
            f"{duration_text(now - job.since)}</span></div>"
            f'<div class="line"><span>{escape(job.what)}</span><span>{steps}</span></div>'
            f'<div class="track"><div style="width:{share:.0%}"></div></div></li>'
        )
    return _section("Jobs in hand", _list(rows, "Nothing in hand."))


def kinds_html(kinds: Sequence[KindView]) -> str:
    """How each kind of work goes, and what it has brought."""
    rows = []
    for kind in kinds:
        skipped = {reason: count for reason, count in kind.skipped.items() if count}
        told = escape(kind.message or "; ".join(skipped_sentences(skipped)))
        counts = f"{kind.done} done, {number_text(kind.kudos)} kudos"
        rows.append(
            f'<li><div class="line"><b>{escape(kind.kind)}</b>'
            f"{_badge(kind.stage, KIND_WORDS[kind.stage])}</div>"
            f'<div class="dim">{counts}</div><div class="dim">{told}</div></li>'
        )
    shown = f"<ul class='rows kinds'>{''.join(rows)}</ul>"
    return _section("Kinds of work", shown) if rows else ""


def faults_html(faults: Sequence[FaultView]) -> str:
    """What was not done, and why, the newest first."""
    rows = (
        f'<li><div class="line"><b>{escape(fault.model)}</b>'
        f'<span class="dim">{clock_text(fault.at)}</span></div>{escape(fault.reason)}</li>'
        for fault in faults[:FAULTS_SHOWN]
    )
    return _section("Recent faults", _list(rows, "None."))


def messages_html(messages: Sequence[MessageView]) -> str:
    """Troubles, and notes from the horde, the newest first."""
    rows = (
        f'<li><div class="line"><b>{escape(message.origin or "the horde")}</b>'
        f'<span class="dim">{clock_text(message.at)}</span></div>{escape(message.text)}</li>'
        for message in messages[:MESSAGES_SHOWN]
    )
    return _section("Messages", _list(rows, "None."))


def engines_html(engines: Sequence[EngineView]) -> str:
    """How each engine is, and what it offers."""
    rows = []
    for engine in engines:
        offers = "".join(
            f'<div><span class="dim">{escape(kind)}:</span> {escape(", ".join(names)) or "-"}</div>'
            for kind, names in engine.offers.items()
        )
        held = ", ".join(_held(one) for one in engine.in_memory)
        if held:
            offers += f'<div><span class="dim">in memory:</span> {held}</div>'
        falls = (
            f"fell {_times(engine.falls)}, last: {escape(engine.reason)}" if engine.falls else ""
        )
        rows.append(
            f'<li><div class="line"><b>{escape(engine.name)}</b>{_badge(engine.stage)}</div>'
            f'{offers}<div class="bad">{falls}</div></li>'
        )
    return _section("Engines", _list(rows, "No engine is open while the worker rests."))


def hours_html(hours: Sequence[HourView], now: float) -> str:
    """Kudos and jobs by hour over the last day, once there are any."""
    this = int(now) // HOUR_SECONDS * HOUR_SECONDS
    known = {hour.start: hour for hour in hours}
    kudos, jobs = [], []
    for start in range(this - (HOURS_SHOWN - 1) * HOUR_SECONDS, this + 1, HOUR_SECONDS):
        hour = known.get(start, HourView(start=start))
        label = datetime.fromtimestamp(start).strftime("%H:%M")
        kudos.append(Bar(label, hour.kudos))
        jobs.append(Bar(label, hour.done))
    if not any(bar.value for bar in (*kudos, *jobs)):
        return _section("Per hour", _list([], "No jobs yet in the last day."))
    return (
        f'<div class="charts">{bars_svg("Kudos per hour", "kudos", kudos)}'
        f"{bars_svg('Jobs per hour', 'jobs', jobs)}</div>"
    )


def log_html(lines: Iterable[LogLine]) -> str:
    """The end of the log, the newest line first."""
    rows = []
    for line in reversed(list(lines)):
        facts = " ".join(f"{name}={value}" for name, value in line.facts.items())
        rows.append(
            f'<div class="{escape(line.level)}"><span class="dim">'
            f"{line.at.astimezone():%H:%M:%S}</span> {escape(line.text)} "
            f'<span class="dim">{escape(facts)}</span></div>'
        )
    return f'<div class="log" tabindex="0">{"".join(rows) or "Nothing was logged yet."}</div>'


def notice_html(text: str, mood: str = "good") -> str:
    """One sentence about what has just been done. `mood` is good, bad or plain."""
    return f'<p class="notice {mood}" role="status">{escape(text)}</p>' if text else ""


def table_html(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """Names and their values."""
    lines = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows
    )
    return _section(title, f"<table>{lines}</table>")


def duration_text(seconds: float) -> str:
    """A span of time in its two largest units."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def clock_text(at: float) -> str:
    """A moment of today by its time, an older one by its date too; in the machine's time zone."""
    moment = datetime.fromtimestamp(at)
    today = moment.date() == datetime.now().date()
    return moment.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M")


def _figure(value: str, name: str) -> str:
    return f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>"


def _badge(stage: str, words: str = "") -> str:
    mood = "bad" if stage in BAD else stage
    return f'<span class="badge {mood}">{escape(words or stage)}</span>'


def _held(one: InMemory) -> str:
    place = "RAM" if one.place == "ram" else "device"
    return f"{escape(one.name)} ({number_text(one.size_bytes / 2**20, 0)} MiB, {place})"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _list(rows: Iterable[str], empty: str) -> str:
    found = "".join(rows)
    return f'<ul class="rows">{found}</ul>' if found else f'<p class="dim">{empty}</p>'


def _section(title: str, content: str) -> str:
    return f"<section><h3>{escape(title)}</h3>{content}</section>"
