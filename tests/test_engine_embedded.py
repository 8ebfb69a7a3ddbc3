"""The embedded engine keeps the contract."""

import pytest
from engine_contract import EngineContract


class TestEmbedded(EngineContract):
    @pytest.fixture
    def engine(self, services):
        return services.engine("embedded")
