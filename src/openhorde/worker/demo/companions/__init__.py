# SPDX-License-Identifier: AGPL-3.0-or-later
"""The four little models beside the one that draws: they caption, rank, check and write."""
