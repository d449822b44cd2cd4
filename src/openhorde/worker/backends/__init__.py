# SPDX-License-Identifier: AGPL-3.0-or-later
"""Inference engines: the face they share, one file or folder each, and the process they run in."""
