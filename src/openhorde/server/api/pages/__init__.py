# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pages for people: plain HTML that needs nothing from elsewhere."""
