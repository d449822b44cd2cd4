# SPDX-License-Identifier: AGPL-3.0-or-later
"""One function per verb; everything that is written enters here."""
