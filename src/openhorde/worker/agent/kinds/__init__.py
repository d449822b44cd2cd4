# SPDX-License-Identifier: AGPL-3.0-or-later
"""The kinds of work as a worker meets them on the wire: one file each, all with the same face."""
