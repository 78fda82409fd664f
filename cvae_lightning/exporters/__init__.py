"""Exports of a trained model for use without this project: ONNX files, and the explorer, an HTML page.

What a user of the project reads about a run, such as its summary and model card, belongs in runs/ and reports/.
"""
