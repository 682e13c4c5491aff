"""What an analyst measures: cost, latency, quality, privacy, capacity, and the summary of a log.

Arrays and data frames in, data frames and small records out. Nothing here knows a study.
"""
