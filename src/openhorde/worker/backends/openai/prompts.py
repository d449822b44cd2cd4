# SPDX-License-Identifier: AGPL-3.0-or-later
"""Making a prompt fit: one that is too long loses its beginning, for its end is gone on with."""

from openhorde.worker.backends.openai.profiles import Tokeniser
from openhorde.worker.backends.servers import EngineError, Server

SPARE_TOKENS = 8
"""Left free for the tokens that a server puts before a prompt, and for text that is cut out of
one token and becomes two."""
CHARACTERS_OF_A_TOKEN = 3
"""An estimate for servers that cannot be asked, on the safe side for most languages."""


def fitted(server: Server, tokeniser: Tokeniser | None, prompt: str, tokens_max: int) -> str:
    """The end of the prompt that fits into `tokens_max` tokens. Raises EngineError."""
    budget = max(1, tokens_max - SPARE_TOKENS)
    if tokeniser is None:
        return prompt[-budget * CHARACTERS_OF_A_TOKEN :]
    # A token is at least one byte, so a short prompt need not be counted.
    if len(prompt.encode("utf-8", "replace")) <= budget:
        return prompt
    encoded = server.post(tokeniser.encode, {tokeniser.text: prompt})
    tokens = encoded.get("tokens") if isinstance(encoded, dict) else None
    if not isinstance(tokens, list):
        raise EngineError(f"{server.name} answered no tokens at {tokeniser.encode}")
    if len(tokens) <= budget:
        return prompt
    decoded = server.post(tokeniser.decode, {"tokens": tokens[-budget:]})
    text = decoded.get(tokeniser.decoded) if isinstance(decoded, dict) else None
    if not isinstance(text, str):
        raise EngineError(f"{server.name} answered no text at {tokeniser.decode}")
    return text.lstrip("\N{REPLACEMENT CHARACTER}")
