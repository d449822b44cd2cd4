# SPDX-License-Identifier: AGPL-3.0-or-later
"""The names under which a server's models are offered to the horde."""

from collections.abc import Sequence


def offered(
    server: str, setting: str, wanted: Sequence[str], found: Sequence[str]
) -> dict[str, str]:
    """The server's name of each model by the name it is offered under.

    `wanted` are the owner's entries, `name` or `name=the server's name`; with none, every model
    is offered under the server's own name. A name that the server does not know stands for its
    only model. Raises RuntimeError, naming the server and the setting, when an entry fits no model.
    """
    if not found:
        raise RuntimeError(f"{server} has no model to offer")
    if not wanted:
        return {name: name for name in found}
    names = {}
    for entry in wanted:
        name, told, model = entry.partition("=")
        if not told:
            model = name if name in found or len(found) > 1 else found[0]
        if model not in found:
            have = ", ".join(found[:20])
            raise RuntimeError(f"{setting}: {server} has no model {model!r}; it has {have}")
        names[name] = model
    return names
