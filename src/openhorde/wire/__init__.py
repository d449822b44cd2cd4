# SPDX-License-Identifier: AGPL-3.0-or-later
"""What travels between clients, server and workers: plain structs, one file per noun."""
