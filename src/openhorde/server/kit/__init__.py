# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tools that know nothing of hordes."""
