# SPDX-License-Identifier: AGPL-3.0-or-later
"""ComfyUI: pictures drawn by workflows, which are JSON files with named slots."""
