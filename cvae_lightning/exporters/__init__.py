"""Exports of a trained model for use without this project: ONNX files, and the explorer, an HTML page.

What a run looks like to a reader of the project belongs in reports and runs, not here.
"""
