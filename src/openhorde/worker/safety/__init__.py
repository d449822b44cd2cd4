# SPDX-License-Identifier: AGPL-3.0-or-later
"""The check that every picture passes before it leaves: decent where it must be, lawful always."""
