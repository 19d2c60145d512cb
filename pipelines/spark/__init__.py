"""The engine on Apache Spark: replays and streams wider than one machine. Needs the extra ``[spark]`` and Java 17.

Nothing here decides anything: what Spark's workers run of a patient is what ``pipelines.replay`` and the service run.
"""
