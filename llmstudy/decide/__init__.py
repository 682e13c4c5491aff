"""What should be done, on what grounds: facts of a study, held against the lines of the memo.

`facts`: every named fact of a study once. `judge`: a fact against a line. `matrices`: the memo's
tables, each row a fact and its line. `intake`: the six questions in the order to ask them.
"""
