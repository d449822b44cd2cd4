# SPDX-License-Identifier: AGPL-3.0-or-later
"""The control panel: a worker's owner watches it and steers it from a browser."""
