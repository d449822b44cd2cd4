# SPDX-License-Identifier: AGPL-3.0-or-later
"""openhorde: a commons of machines for generative AI."""

from importlib.metadata import version

__version__ = version("openhorde")
