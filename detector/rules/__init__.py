"""Rules as data: a three-valued language of conditions (compiling), what they ask (readings, trends, happenings,
memory, injury, logic) and the book of all rules (book, asking).
"""
