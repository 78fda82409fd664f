"""Evaluators, one file per family of metrics.

Each measures a trained model on one split, with a random stream of its own. How a metric is computed from images or
features belongs in metrics/.
"""
