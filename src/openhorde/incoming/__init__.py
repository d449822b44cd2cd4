# SPDX-License-Identifier: AGPL-3.0-or-later
"""What comes from outside, opened in one way by server, worker and client: pictures, base64, HTTP
answers and text files. Everything here is bounded before it is unpacked."""
