# SPDX-License-Identifier: AGPL-3.0-or-later
"""The diffusers engine: draws with any model of the Stable Diffusion family."""
