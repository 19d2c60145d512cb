"""Scorers behind the port of ``detector.scoring``: they come with a later release. Nothing here is loaded yet."""
