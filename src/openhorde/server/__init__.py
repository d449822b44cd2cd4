# SPDX-License-Identifier: AGPL-3.0-or-later
"""The server: accounts, queue, ledger and the API in front of them."""
