"""Encoders and decoders, and how they are conditioned on the label.

A network knows shapes and its context; it knows nothing of distributions, which belong to models/.
"""
