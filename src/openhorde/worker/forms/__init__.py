# SPDX-License-Identifier: AGPL-3.0-or-later
"""Forms of alchemy: what can be told of a picture, or made of it."""
