"""Fitting the models: rows from the engine itself, labels from the truth of injected courses, a small artefact out."""
