"""Torchmetrics `Metric` classes, distances between sets of features, and the catalog of all metrics.

Which numbers are measured of a model, and on how many images, is decided in `evaluators`.
"""
