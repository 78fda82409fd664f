"""Torchmetrics `Metric` classes, distances between sets of features, and the catalog of all metrics.

Which metrics of a model are measured, and on how many images, is decided in evaluators/.
"""
