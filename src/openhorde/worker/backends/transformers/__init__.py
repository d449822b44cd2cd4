# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engine that looks at pictures and writes texts, in-process, with the transformers library."""
