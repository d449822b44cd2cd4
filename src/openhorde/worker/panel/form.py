# SPDX-License-Identifier: AGPL-3.0-or-later
"""The form of all settings: made from the struct, checked as YAML is, saved, heeded at once."""

from collections.abc import Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from openhorde.worker.agent.control import Control
from openhorde.worker.panel.fields import (
    ShownField,
    from_widget,
    shown_groups,
    to_widget,
)
from openhorde.worker.panel.saving import UNSET, NotSaved, SettingsFile
from openhorde.worker.panel.views import notice_html
from openhorde.worker.settings import SettingsError, WorkerSettings, changed

FIELD_WIDTH_PIXELS = 300
WORDS_LINES = 3
# What is typed before the form is filled would be lost.
MARK_FILLED = "() => { document.body.classList.add('filled') }"
MARK_UNSAVED = "() => { document.body.classList.add('unsaved') }"
# With the notice of a save that failed, the form stays as it is.
MARK_SAVED = (
    "(notice) => { if (!(notice || '').includes('notice bad'))"
    " document.body.classList.remove('unsaved') }"
)
MARKDOWN_LOOKALIKES = str.maketrans({"*": "\N{ASTERISK OPERATOR}", "`": "'", "[": "(", "]": ")"})


class Form:
    """All widgets and what is done with their values."""

    def __init__(self, control: Control, file: SettingsFile) -> None:
        self._control = control
        self._file = file
        self._groups = shown_groups()
        self.fields = [field for _, fields in self._groups for field in fields]
        self.widgets: list[Component] = []
        self.narrowing: dict[str, Any] = {}

    def build(self) -> None:
        """Put the form into the page that is being made."""
        seen = gr.State({})
        with gr.Row(elem_classes="narrowing"):
            words = gr.Textbox(
                show_label=False,
                placeholder="Search the settings",
                elem_id="search",
                min_width=200,
                max_lines=1,
            )
            only = gr.Checkbox(
                label="Changed only", elem_id="changed-only", container=False, min_width=140
            )
        style = gr.HTML(elem_id="narrowed")
        groups = []
        for index, (title, fields) in enumerate(self._groups):
            with (
                gr.Accordion(title, open=index == 0, elem_id=f"group-{index}") as group,
                gr.Row(elem_classes="fields"),
            ):
                self.widgets += [self._widget(field) for field in fields]
            groups.append(group)
        notice = gr.HTML(elem_id="saved", elem_classes="ours")
        restart = gr.Button("Restart the engines", visible=False, elem_id="restart")
        with gr.Row(elem_classes="sticky"):
            save = gr.Button("Save", variant="primary", elem_id="save", min_width=120)
            undo = gr.Button("Undo", elem_id="undo", min_width=120)
        shown = [seen, *self.widgets]
        self.narrowing = {
            "fn": self.narrowed,
            "inputs": [words, only],
            "outputs": [style, *groups],
            "show_progress": "hidden",
        }
        gr.on([words.input, only.input], **self.narrowing, trigger_mode="always_last")
        touched: list[Any] = [widget.input for widget in self.widgets]
        gr.on(touched, None, js=MARK_UNSAVED)
        undo.click(self.values, outputs=shown, show_progress="hidden").then(None, js=MARK_SAVED)
        save.click(
            self.save,
            inputs=shown,
            outputs=[notice, restart, *shown],
            show_progress="hidden",
        ).then(None, inputs=notice, js=MARK_SAVED).then(**self.narrowing)
        restart.click(self.restart, outputs=[notice, restart], show_progress="hidden")
        self.load_into = [notice, restart, *shown]

    def load(self) -> list[Any]:
        """What the form shows when the page is opened: for `load_into`."""
        return [self._pending_notice(), self._restart_button(), *self.values()]

    def values(self) -> list[Any]:
        """What was seen last, for comparison, and what each widget holds."""
        settings = self._control.settings
        held = [to_widget(field, getattr(settings, field.name)) for field in self.fields]
        seen = dict(zip((field.name for field in self.fields), held, strict=True))
        return [seen, *(self._update(*pair) for pair in zip(self.fields, held, strict=True))]

    def narrowed(self, words: str | None, changed_only: bool | None) -> list[Any]:
        """What hides the fields that are not wanted, and the groups of which nothing is left.

        Wanted are those with all the words, or that are not as they are by default. Without words,
        settings of engines that are not used stay away.
        """
        settings = self._control.settings
        sought = (words or "").lower().split()
        shown = {
            field.name: field.has(sought)
            and (bool(sought) or field.engine in (None, *settings.backends))
            and not (changed_only and getattr(settings, field.name) == field.setting.default)
            for field in self.fields
        }
        away = [f"#setting-{name}" for name, one in shown.items() if not one]
        away += [
            f"#group-{index}"
            for index, (_, fields) in enumerate(self._groups)
            if not any(shown[field.name] for field in fields)
        ]
        opened = gr.update(open=True) if sought or changed_only else gr.skip()
        style = f"<style>{', '.join(away)} {{ display: none !important; }}</style>" if away else ""
        return [style, *(opened for _ in self._groups)]

    def save(self, seen: dict[str, Any], *held: Any) -> list[Any]:
        """Write the changes and have the worker heed them; what the page shows then.

        What is wrong is told at its field, and then nothing is saved.
        """
        changes = self._changes(seen, held)
        errors = self._errors(changes)
        if errors:
            told = f"Nothing was saved. {'; '.join(errors.values())}."
            return [notice_html(told, "bad"), self._restart_button(), seen, *self._marked(errors)]
        if not changes:
            told = "Nothing was changed."
            return [notice_html(told, "plain"), self._restart_button(), seen, *self._marked({})]
        try:
            self._file.write(changes)
            late = self._control.apply(self._plain(changes))
        except (NotSaved, SettingsError) as error:
            told = f"Nothing was saved. {error}"
            return [notice_html(told, "bad"), self._restart_button(), seen, *self._marked({})]
        return [notice_html(self._saved(changes, late)), self._restart_button(), *self.values()]

    def _saved(self, changes: dict[str, Any], late: list[str]) -> str:
        told = [f"Saved to {self._file.path}."]
        at_once = sorted(changes.keys() - set(late))
        if at_once:
            told.append(f"In force: {', '.join(at_once)}.")
        if late:
            pending = self._control.pending
            heeded = "Needs a restart" if pending else "In force when the worker starts"
            told.append(f"{heeded}: {', '.join(pending or late)}.")
        return " ".join(told)

    def restart(self) -> list[Any]:
        """Have the engines opened anew with the settings as they are."""
        self._control.restart()
        told = "The worker finishes what is in hand, then its engines open with the new settings."
        return [notice_html(told), gr.update(visible=False)]

    def _changes(self, seen: dict[str, Any], held: Sequence[Any]) -> dict[str, Any]:
        """What differs from what was seen, as values to be checked, by name.

        Only that: another window may have changed the rest meanwhile.
        """
        return {
            field.name: from_widget(field, value)
            for field, value in zip(self.fields, held, strict=True)
            if value != seen.get(field.name) and not (field.look == "secret" and not value)
        }

    def _plain(self, changes: dict[str, Any]) -> dict[str, Any]:
        """The changes with defaults in the place of what is unset."""
        defaults = {field.name: field.setting.default for field in self.fields}
        return {
            name: defaults[name] if value is UNSET else value for name, value in changes.items()
        }

    def _errors(self, changes: dict[str, Any]) -> dict[str, str]:
        """What is wrong, by the setting at which it is to be shown."""
        plain = self._plain(changes)
        errors = {
            name: f"{name} is set by {by}, which wins over the file"
            for name, by in self._file.overridden.items()
            if name in changes
        }
        for name, value in plain.items():
            try:
                changed(WorkerSettings(), {name: value})
            except SettingsError as error:
                if str(error).startswith(f"{name}:"):
                    errors[name] = str(error)
        if not errors:
            try:
                changed(self._control.settings, plain)
            except SettingsError as error:
                # Two settings that do not agree: shown at the one that was changed.
                named = str(error).split(maxsplit=1)[0].rstrip(":")
                errors[named if named in plain else next(iter(plain))] = str(error)
        return errors

    def _pending_notice(self) -> str:
        pending = self._control.pending
        return notice_html(f"Needs a restart: {', '.join(pending)}." if pending else "", "plain")

    def _restart_button(self) -> Any:
        return gr.update(visible=bool(self._control.pending))

    def _info(self, field: ShownField) -> str:
        """The help line, and what else is to be known before a change. It is read as Markdown."""
        set_by = self._file.overridden.get(field.name)
        late = "" if field.at_once else " Needs a restart."
        return _plain_markdown(f"{field.info} Set by {set_by}." if set_by else field.info + late)

    def _marked(self, errors: dict[str, str]) -> list[Any]:
        """Every field as it is, but with its error in the place of its help."""
        return [
            gr.update(info=_plain_markdown(errors[field.name]), elem_classes=["wrong"])
            if field.name in errors
            else gr.update(info=self._info(field), elem_classes=[])
            for field in self.fields
        ]

    def _widget(self, field: ShownField) -> Component:
        """An empty widget for a field: its value comes when the page is opened."""
        setting = field.setting
        common: dict[str, Any] = {
            "label": field.label,
            "info": self._info(field),
            "elem_id": f"setting-{field.name}",
            "interactive": field.name not in self._file.overridden,
            "min_width": FIELD_WIDTH_PIXELS,
        }
        match field.look:
            case "switch":
                return gr.Checkbox(**common)
            case "choice":
                return gr.Dropdown(choices=list(setting.choices), **common)
            case "choices":
                return gr.Dropdown(choices=list(setting.choices), multiselect=True, **common)
            case "words":
                return gr.Textbox(lines=WORDS_LINES, max_lines=10, **common)
            case "slider":
                return gr.Slider(setting.minimum, setting.maximum, step=1, **common)
            case "number":
                return gr.Number(**common)
            case "secret":
                return gr.Textbox(type="password", html_attributes=_no_autofill(), **common)
            case "text":
                return gr.Textbox(max_lines=1, **common)

    def _update(self, field: ShownField, value: Any) -> Any:
        same = {"info": self._info(field), "elem_classes": []}
        if field.look == "secret":
            is_set = getattr(self._control.settings, field.name) not in ("", None)
            return gr.update(value="", placeholder="set" if is_set else "not set", **same)
        return gr.update(value=value, **same)


def _plain_markdown(text: str) -> str:
    """The text without what would be taken for Markdown; it cannot be escaped there."""
    return text.translate(MARKDOWN_LOOKALIKES)


def _no_autofill() -> Any:
    return gr.InputHTMLAttributes(autocomplete="new-password")
