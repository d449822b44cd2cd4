# SPDX-License-Identifier: AGPL-3.0-or-later
"""The only room that knows SQL and object storage."""
