"""The evaluation kit: alerts and scores of stays whose truth is known, turned into figures that could disappoint.

``truth`` (what was really going on) -> ``counting`` (what counts as one warning, and which course it found) ->
``figures`` with ``intervals``, ``curve`` (sensitivity against burden) and ``ablation`` -> ``report``. ``picture`` makes
the rows that the ``peers`` score; ``run`` puts it together for the command.
"""
