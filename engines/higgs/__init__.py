"""Higgs Audio v2: text to speech and voice cloning with a 3B language model over audio codes.

Source: https://github.com/boson-ai/higgs-audio and its port in transformers. The language model
is transformers' own; the steps of a generation, the delay pattern and the codec's streaming are
here. Nothing here but `engine` is imported before a model is loaded.
"""
