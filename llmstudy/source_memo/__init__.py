"""What did the source memo say of cost, and what does the usual web calculator say?

Chapter 09 reproduces both in the open, from `data/source_memo_*.csv` and `data/web_calculator.csv`.
Here is what its cells call: `claims` prices the memo's models, serves its GPUs and judges its
claims; `calculator` lays the calculator's assumptions beside a study's and takes their difference
apart. What the advisors' rules would decide of a study is in `decide`.
"""
