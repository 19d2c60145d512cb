"""The pure core: events in, alert records out. No I/O, no clock, no randomness, no logging.

Read in this order: events, clean, windows, rules/, picture (pass 1), fuse, alerts, deciding (pass 2), engine.
"""
