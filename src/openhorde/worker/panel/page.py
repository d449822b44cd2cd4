# SPDX-License-Identifier: AGPL-3.0-or-later
"""The page: what is seen of the worker, the buttons, the form of its settings."""

import time
from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from openhorde.worker.agent.control import Control
from openhorde.worker.agent.kinds.table import kinds_wanted, worker_name
from openhorde.worker.agent.live import WorkerState
from openhorde.worker.panel import steering, views
from openhorde.worker.panel.form import MARK_FILLED, Form
from openhorde.worker.panel.log_tail import LogTail
from openhorde.worker.panel.saving import SettingsFile
from openhorde.worker.panel.views import notice_html

REFRESH_SECONDS = 1.5
SIDES_PIXELS = (64, 128, 256, 512)
ACCESS = (
    '<form class="access" method="post" action="/logout">'
    '<a href="/password" class="quiet" id="change-password">Change the password</a>'
    '<button class="quiet" id="log-out">Log out</button></form>'
)
OURS = "ours"
START, STOP, STOP_AT_ONCE = "Start", "Stop", "Stop at once"
MAINTENANCE_ON, MAINTENANCE_OFF = "Maintenance on", "Maintenance off"


class Page:
    """Everything behind the doors."""

    def __init__(
        self,
        control: Control,
        file: SettingsFile,
        tail: LogTail,
        rewards: steering.Rewards,
    ) -> None:
        self._control = control
        self._tail = tail
        self._rewards = rewards
        self._form = Form(control, file)

    def build(self) -> gr.Blocks:
        """Make the page. Takes a second or so."""
        with gr.Blocks(
            title="openhorde worker", analytics_enabled=False, fill_width=True
        ) as blocks:
            status = gr.HTML(elem_classes=OURS)
            buttons = self._buttons()
            with gr.Tabs():
                with gr.Tab("Work"):
                    jobs = gr.HTML(elem_classes=OURS)
                    kinds = gr.HTML(elem_id="kinds", elem_classes=OURS)
                    with gr.Row(elem_classes="two"):
                        faults = gr.HTML(elem_classes=OURS)
                        messages = gr.HTML(elem_classes=OURS)
                with gr.Tab("Earnings"):
                    hours = gr.HTML(elem_classes=OURS)
                    statistics = gr.HTML(elem_id="statistics", elem_classes=OURS)
                    ask = gr.Button("Ask the horde for account and workers", elem_id="ask")
                with gr.Tab("Engines"):
                    engines = gr.HTML(elem_id="engines", elem_classes=OURS)
                with gr.Tab("Settings"):
                    self._form.build()
                    gr.HTML(ACCESS, elem_classes=OURS)
                with gr.Tab("Test"):
                    self._test()
                with gr.Tab("Log"):
                    log = gr.HTML(elem_classes=OURS)
            seen = [status, jobs, kinds, faults, messages, hours, engines, log, *buttons]
            gr.Timer(REFRESH_SECONDS).tick(self.look, outputs=seen, show_progress="hidden")
            blocks.load(self.look, outputs=seen, show_progress="hidden")
            filled = blocks.load(
                self._form.load, outputs=self._form.load_into, show_progress="hidden"
            )
            filled.then(**self._form.narrowing).then(None, js=MARK_FILLED)
            ask.click(self.statistics, outputs=statistics, show_progress="minimal")
        return blocks

    async def look(self) -> list[Any]:
        """What is to be seen now."""
        state, now = self._control.state(), time.time()
        return [
            views.status_html(state, self._control.settings, now),
            views.jobs_html(state.jobs, now),
            views.kinds_html(state.kinds),
            views.faults_html(state.faults),
            views.messages_html(state.messages),
            views.hours_html(state.hours, now),
            views.engines_html(state.engines),
            views.log_html(self._tail.lines),
            *(gr.update(**shown) for shown in buttons_shown(state)),
        ]

    async def statistics(self) -> str:
        """Account and workers, as the horde tells of them."""
        return await steering.statistics_html(self._control.settings, self._names())

    async def pilots(self, side_pixels: int) -> AsyncIterator[str]:
        """The pilot jobs as they go."""
        is_working = self._control.state().phase == "working"
        async for seen in steering.pilots_html(
            self._control.settings, self._names(), is_working, side_pixels, self._rewards
        ):
            yield seen

    def _names(self) -> list[str]:
        """The workers' names, one for each kind of work."""
        settings = self._control.settings
        return [worker_name(settings, kind) for kind in kinds_wanted(settings)]

    def _buttons(self) -> list[gr.Button]:
        """Those that steer. What is pressed is what is written on it, whatever has changed since
        the page was last told."""
        with gr.Row(elem_classes="buttons"):
            start = gr.Button(START, elem_id="start", size="md", min_width=60)
            stop = gr.Button(STOP, elem_id="stop", size="md", min_width=60)
            maintain = gr.Button(MAINTENANCE_ON, elem_id="maintenance", size="md", min_width=60)
        told = gr.HTML(elem_id="told", elem_classes=OURS)
        for button, act in (
            (start, self._start),
            (stop, self._stop),
            (maintain, self._maintain),
        ):
            button.click(act, inputs=button, outputs=told, show_progress="hidden")
        return [start, stop, maintain]

    async def _start(self, pressed: str) -> str:
        self._control.start()
        return notice_html("The worker starts.")

    async def _stop(self, pressed: str) -> str:
        if pressed == STOP_AT_ONCE:
            self._control.stop()
            return notice_html("The worker gives up what is in hand, tells the horde, and rests.")
        self._control.drain()
        return notice_html(
            "The worker finishes what is in hand, then rests. "
            f"{STOP_AT_ONCE} gives up what is in hand."
        )

    async def _maintain(self, pressed: str) -> str:
        wanted = pressed == MAINTENANCE_ON
        done, told = await steering.set_maintenance(self._control.settings, self._names(), wanted)
        if done:
            self._control.maintenance(wanted)
        return told

    def _test(self) -> None:
        gr.Markdown(
            "A small request of your own goes to the horde, meant for this worker alone: one for "
            "each kind of work that it serves."
        )
        with gr.Row(elem_classes="test"):
            side = gr.Dropdown(
                choices=[(f"{one} x {one}", one) for one in SIDES_PIXELS],
                value=256,
                label="Size in pixels",
                min_width=160,
            )
            fly = gr.Button("Test my worker", variant="primary", elem_id="pilot", min_width=160)
        result = gr.HTML(elem_id="pilots", elem_classes=OURS)
        fly.click(
            self.pilots,
            inputs=side,
            outputs=result,
            show_progress="hidden",
            concurrency_limit=1,
            trigger_mode="once",
        )


def buttons_shown(state: WorkerState) -> list[dict[str, Any]]:
    """What is written on the buttons start, stop and maintenance, and which of them can be pressed.

    The one that is most likely wanted stands out.
    """
    can_start = state.phase in ("resting", "draining")
    return [
        {"interactive": can_start, "variant": "primary" if can_start else "secondary"},
        {
            "value": STOP_AT_ONCE if state.phase == "draining" else STOP,
            "interactive": state.phase != "resting",
            "variant": "stop" if state.phase == "draining" else "secondary",
        },
        {"value": MAINTENANCE_OFF if state.maintenance else MAINTENANCE_ON},
    ]
