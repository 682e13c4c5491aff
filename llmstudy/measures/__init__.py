"""What an analyst measures: cost, latency, quality, privacy, capacity, and what a log holds.

Arrays and data frames in, data frames and small records out. Nothing here knows a study.
"""
