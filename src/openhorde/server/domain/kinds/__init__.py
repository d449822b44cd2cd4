# SPDX-License-Identifier: AGPL-3.0-or-later
"""Kinds of work, one file each, with the same face."""
