# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pops jobs, has them run, uploads and delivers what comes out."""
