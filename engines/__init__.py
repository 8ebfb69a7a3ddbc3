"""The speech systems, each behind the contract in `engines.base`."""
