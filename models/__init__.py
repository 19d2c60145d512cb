"""Scorers behind the ports of ``detector.scoring``: a personal baseline, a joint anomaly and a withdrawal score."""
