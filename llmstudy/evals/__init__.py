"""Evaluations: the same items answered by several routes and scored, as one table.

- Items: `golden` builds them from a log (`messages`), with what `redaction` takes out of their
  texts (`canaries` measure it); `items` are sets of them, as files and as sheets to label, and
  `labelling` the view of a sheet.
- Answers: `runner.run_evaluation` sends items to `routes`, as `prompts` and `plan` say, by `calls`,
  keeps what came (`replies`) and makes `rows` of it. `scorers` score an answer, with `extract` and
  `numbers` to read it; `judges` are models that do.
- `table` is the table of an evaluation and its pairs; `importers` read it from other tools' files.
  What makes two items one is in `identity`.
- Claims: `audit` looks for faults of the scorer first, and `calibrate` lays labels beside a judge;
  `evidence` and `counts` are of a candidate, `anytime` of one whose items still come in, and
  `verdict` says what to do.
"""
