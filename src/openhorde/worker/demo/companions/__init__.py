# SPDX-License-Identifier: AGPL-3.0-or-later
"""The three little models beside the one that draws: they caption, rank and write."""
