"""The source memo's claims on cost and the usual web calculator, for comparison with a study.

Chapter 09 reproduces both from `data/source_memo_*.csv` and `data/web_calculator.csv`, with the
functions here: `claims` looks up prices and throughput for the memo's claims and compares them;
`calculator` compares the calculator's assumptions with a study's and attributes the difference.
What the advisors' rules would decide is in `decide`.
"""
