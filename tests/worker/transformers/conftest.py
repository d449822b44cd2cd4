# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engine, open, with the models that ship with the program."""

import pytest
from open_engine import OpenEngine, settings


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> OpenEngine:
    return OpenEngine(settings(tmp_path_factory.mktemp("models")))
