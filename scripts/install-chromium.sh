#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-or-later
# A browser for the tests of the control panel and the pages: installed where that may be done unasked.
set -eu

if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then
  exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing Chromium for the tests in a browser"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    chromium chromium-driver >/dev/null
  exit 0
fi
echo "make: no chromium with chromedriver is installed, so the tests in a browser are skipped"
echo "      (on Debian: apt install chromium chromium-driver)."
