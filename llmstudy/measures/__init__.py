"""Measures of cost, latency, quality, privacy and capacity, and the summary of a log.

Arrays and data frames go in, data frames and small records come out. Nothing here needs a study.
"""
