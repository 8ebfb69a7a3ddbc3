"""The caller of the benchmarks, for the tests."""

from bench.caller import FRAME, RATE, Caller, call

__all__ = ["FRAME", "RATE", "Caller", "call"]
