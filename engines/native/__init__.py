"""What the engines that run on torch in this process share.

`steps` lets many requests use one set of weights, `sampling` draws tokens, `snapshot`
reads published weights. Nothing here is imported before such an engine is loaded.
"""
