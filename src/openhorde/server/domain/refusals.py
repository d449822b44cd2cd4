# SPDX-License-Identifier: AGPL-3.0-or-later
"""The one exception of the rules."""


class Refusal(Exception):
    """Something may not be done, and why.

    `code` is the wire's return code (`rc`); `facts` fill its sentence in `api/words.py`.
    """

    def __init__(self, code: str, **facts: object) -> None:
        super().__init__(code, facts)
        self.code = code
        self.facts = facts
