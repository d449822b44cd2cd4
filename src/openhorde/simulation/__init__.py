# SPDX-License-Identifier: AGPL-3.0-or-later
"""A horde in accelerated time: seeded, event driven, over the same rules as the server."""
