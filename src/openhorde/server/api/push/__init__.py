# SPDX-License-Identifier: AGPL-3.0-or-later
"""Callers that are told instead of asking: event streams, held checks, reports of progress."""
