"""The commands that draw from a finished run: sample, reconstruct, interpolate, traverse, embed, score and inpaint.

`commands` holds what they share; each drawing is a module with one function, `pictures`. What a model computes for
them is in models/inference.py, and the style of the figures in core/pictures.py.
"""
