# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pages for people: register, source, API documentation."""
