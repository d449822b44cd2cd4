# SPDX-License-Identifier: AGPL-3.0-or-later
"""Turns the wire's words for drawing tokens into those of transformers' generate()."""

from typing import Any

from msgspec import Struct, field

# How the wire says "not at all" of words that generate() has no match for.
_NEUTRAL: dict[str, Any] = {
    "tfs": (0, 1),
    "top_a": (0,),
    "smoothing_factor": (0,),
    "dynatemp_range": (0,),
    "dynatemp_exponent": (0, 1),
    "rep_pen_range": (0,),
    "rep_pen_slope": (0, 1),
}
# Words for which it is enough that they are true or false, and false asks for nothing.
_NEWLINE = "\n"
# Lower ones overflow in half precision.
TEMPERATURE_MIN = 0.01


class Sampling(Struct, kw_only=True):
    """Arguments for generate(), further sequences to stop at, and what had to be left out."""

    arguments: dict[str, Any] = field(default_factory=dict)
    stop_sequences: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def translate(wished: dict[str, Any]) -> Sampling:
    """Translate the wire's words (see wire/text.py, TextSampling); absent ones stay the model's.

    A temperature of 0, or so low that it makes no difference, takes the likeliest token each time,
    and then no other word matters.
    """
    told = Sampling(arguments={"do_sample": True})
    for name, value in wished.items():
        match name:
            case "temperature":
                told.arguments["temperature"] = float(value)
            case "top_p":
                told.arguments["top_p"] = float(value)
            case "top_k":
                told.arguments["top_k"] = int(value)
            case "typical":
                # Both ends of the scale mean that it is off.
                told.arguments["typical_p"] = float(value) or 1.0
            case "min_p":
                if value:
                    told.arguments["min_p"] = float(value)
            case "rep_pen":
                told.arguments["repetition_penalty"] = float(value)
            case "singleline":
                if value:
                    told.stop_sequences.append(_NEWLINE)
            case _:
                if value and value not in _NEUTRAL.get(name, ()):
                    told.left_out.append(name)
    if told.arguments.get("temperature", 1.0) < TEMPERATURE_MIN:
        kept = ("repetition_penalty",)
        told.arguments = {name: told.arguments[name] for name in kept if name in told.arguments}
        told.arguments["do_sample"] = False
    return told
