"""Evaluators, one file per family of numbers.

Each measures a trained model on one split, with a random stream of its own. How a number is computed from images or
features is a matter of `metrics`.
"""
