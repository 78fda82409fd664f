"""Models and their parts, and inference with a trained model.

A likelihood, a prior, a bound and a sampler are separate objects, and any combination of them makes a model. What a
network is made of belongs in networks/, and how a model is measured in evaluators/.
"""
