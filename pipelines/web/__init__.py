"""The web side of the service: metrics for Prometheus, health, and a plain page of open alerts."""
