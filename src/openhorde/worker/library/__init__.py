# SPDX-License-Identifier: AGPL-3.0-or-later
"""Models on this machine: where they are, what of them may be read, how they are fetched, loaded
and kept in memory."""
