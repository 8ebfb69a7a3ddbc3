"""VITA-1.5 (VITA-MLLM, arXiv 2501.01957): a language model that hears, sees, and may stay silent.

The Whale encoder turns speech into rows of Qwen2.5's input, InternViT does so with images. The
first token of a reply is a mark: whether a question was answered that was spoken or typed, or
whether what was heard was meant for somebody else. The reply is spoken by the models in `speech`.

Computed exactly as by the published code in full precision, except where that is a mistake: no
prompt is cut, a mark is decided by likelihood alone, and what was not meant for it stays
unanswered.

Torch is imported by the modules, not here.
"""
