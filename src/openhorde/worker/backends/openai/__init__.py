# SPDX-License-Identifier: AGPL-3.0-or-later
"""Servers that write text the way OpenAI's completions do, or nearly so: one profile for each."""
