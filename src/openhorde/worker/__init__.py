# SPDX-License-Identifier: AGPL-3.0-or-later
"""The worker: takes jobs from a horde and runs them on local engines."""
