"""How the tables of other people's data sets become events: what every format of ``pipelines.datasets`` shares.

``scans`` streams a table, ``item_maps`` says which of its rows are ours, ``collector`` judges them and puts them into
their stay, ``spill`` keeps on disk what is too much for memory, ``survey`` counts instead of keeping.
"""
