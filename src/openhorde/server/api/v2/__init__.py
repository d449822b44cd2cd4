# SPDX-License-Identifier: AGPL-3.0-or-later
"""The v2 REST face, one file per noun."""
