# SPDX-License-Identifier: AGPL-3.0-or-later
"""How fast a horde is, beside what the same machine's database could do: see README.md."""
