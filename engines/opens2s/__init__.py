"""OpenS2S (CASIA-LM, arXiv 2507.05177): a language model that hears, and speaks as it writes.

A Whisper-like encoder and an adapter turn speech into rows of Qwen3's input. A second, small
language model reads the hidden states of the first, a few text tokens at a time, and writes
units of GLM-4-Voice's codec between them. CASIA-LM/DialectS2S has the same layout.

Computed exactly as by the published code (the reference, commit 359565c), except where that is
a mistake: no unit is lost, and none is played that is no sound.

Torch is imported by the modules, not here.
"""
