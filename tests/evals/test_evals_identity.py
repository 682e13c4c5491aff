"""An item is one whichever tool wrote it down, and two items are never taken for one."""

import json

import pandas as pd
import pytest

from llmstudy.evals import scorers
from llmstudy.evals.identity import item_hash
from llmstudy.evals.importers import read_evaluation
from llmstudy.evals.runner import run_evaluation
from llmstudy.evals.table import pairs
from llmstudy.evals.verdict import compare

QUESTIONS = {"What is 0 + 0?": 0, "What is 1 + 1?": 2, "What is 2 + 2?": 4}


@pytest.fixture
def own(scripted, route_to, tmp_path):
    """The evaluation that the runner writes of questions with their numbers, under its own ids."""

    def run(questions):
        items = [
            {"item_id": f"own-{i}", "prompt": question, "reference": number}
            for i, (question, number) in enumerate(questions.items())
        ]
        with scripted.running(lambda body, n: scripted.Reply("The answer is 4.")) as server:
            out = tmp_path / "own.jsonl"
            run_evaluation(items, [route_to(server, "own")], scorers.numeric, out)
        return out

    return run


def inspect_log(questions):
    samples = [
        {
            "id": i,
            "epoch": 1,
            "input": [{"id": "x", "role": "user", "content": [{"type": "text", "text": question}]}],
            "target": [str(number)],
            "scores": {"match": {"value": "C", "answer": "4"}},
        }
        for i, (question, number) in enumerate(questions.items())
    ]
    return {"version": 2, "eval": {"task": "sums", "model": "other"}, "samples": samples}


def promptfoo_output(questions):
    rows = [
        {
            "testIdx": i,
            "promptIdx": 0,
            "promptId": "p",
            "provider": {"label": "other"},
            "vars": {"q": question},
            "prompt": {"raw": f"Q: {question}"},
            "testCase": {
                "assert": [
                    {"type": "equals", "value": str(number)},
                    {"type": "latency", "threshold": 5000},
                ]
            },
            "gradingResult": {"componentResults": [{"score": 1, "assertion": {"type": "equals"}}]},
        }
        for i, (question, number) in enumerate(questions.items())
    ]
    return {"results": {"version": 3, "results": rows}}


def lm_eval_samples(questions):
    return [
        {
            "doc_id": i,
            "doc": {"question": question, "answer": f"so\n#### {number}"},
            "target": str(number),
            "arguments": {"gen_args_0": {"arg_0": f"Question: {question}\nAnswer:"}},
            "resps": [["4"]],
            "filtered_resps": ["4"],
            "filter": "none",
            "metrics": ["exact_match"],
            "doc_hash": f"of lm-eval {i}",
            "exact_match": 1.0,
        }
        for i, (question, number) in enumerate(questions.items())
    ]


def mlflow_table(questions):
    columns = ["inputs", "outputs", "expectations", "exact_match/v1/score"]
    rows = [
        [{"question": question}, "4", {"expected_response": str(number)}, 1]
        for question, number in questions.items()
    ]
    return {"columns": columns, "data": rows}


def table(questions):
    return [
        {"prompt": question, "target": number, "route": "other", "score": 1}
        for question, number in questions.items()
    ]


TOOLS = (inspect_log, promptfoo_output, lm_eval_samples, mlflow_table, table)


@pytest.mark.parametrize("tool", TOOLS)
def test_the_items_of_an_own_run_pair_with_those_of_a_tool(own, tmp_path, tool):
    other = tmp_path / "other.json"
    other.write_text(json.dumps(tool(QUESTIONS)))
    both = read_evaluation([own(QUESTIONS), other], route=["own", "other"])
    items = pairs(both, "own", "other")
    assert items[["baseline", "candidate"]].to_numpy().tolist() == [[0, 1], [0, 1], [1, 1]]
    assert list(items.index) == ["own-0", "own-1", "own-2"]
    assert compare(both, "own", 0.1)[0].scorers == tuple(dict.fromkeys(both["scorer"].dropna()))


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(
    "unlike",
    [
        {"What is 0 + 0?": 0, "What is 1 + 1?": 2, "What is 3 + 1?": 4},
        {"What is 0 + 0?": 0, "What is 1 + 1?": 2, "What is 2 + 2?": 5},
    ],
    ids=["prompt", "reference"],
)
def test_unlike_items_never_pair(own, tmp_path, tool, unlike):
    other = tmp_path / "other.json"
    other.write_text(json.dumps(tool(unlike)))
    both = read_evaluation([own(QUESTIONS), other], route=["own", "other"])
    with pytest.raises(ValueError, match=r"2 items answered by one of the two routes .*own-2"):
        pairs(both, "own", "other")


def test_unlike_items_of_one_name_are_shown(own, tmp_path):
    other = tmp_path / "other.json"
    rows = [{**row, "item_id": f"own-{i}"} for i, row in enumerate(table(QUESTIONS))]
    rows[1]["target"] = 3
    other.write_text(json.dumps(rows))
    with pytest.raises(ValueError, match=r"1 item that differ .*by their hash.*first: own-1"):
        pairs(read_evaluation([own(QUESTIONS), other], route=["own", "other"]), "own", "other")


def test_items_that_two_files_number_unlike_pair_by_what_they_are():
    files = [table(QUESTIONS), table(dict(reversed(QUESTIONS.items())))]
    rows = [
        {**row, "item_id": i, "route": route, "score": row["target"] / 4}
        for route, own in zip(("a", "b"), files, strict=True)
        for i, row in enumerate(own)
    ]
    items = pairs(read_evaluation(pd.DataFrame(rows)), "a", "b")
    assert (items["baseline"] == items["candidate"]).all()
    assert len(items) == 3


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "questions", "route"),
    [
        ("inspect_log.json", {f"What is {i}+{i}?": 2 * i for i in range(4)}, None),
        ("inspect_log.eval", {f"What is {i}+{i}?": 2 * i for i in range(4)}, None),
        ("promptfoo_output.json", {"1+1": 2, "2+2": "4"}, "prop"),
        ("lm_eval_samples_minigsm.jsonl", None, None),
    ],
)
def test_a_file_that_the_tool_itself_wrote_pairs_with_an_own_run(
    own, shared, name, questions, route
):
    file = shared / "fixtures" / "eval_tools" / name
    if questions is None:
        docs = map(json.loads, file.read_text().splitlines())
        questions = {doc["doc"]["question"]: int(doc["target"]) for doc in docs}
    both = read_evaluation([own(questions), file])
    (other,) = set(both["route"]) - {"own"} if route is None else (route,)
    assert len(pairs(both, "own", other)) == len(questions)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (("2 + 2?", 4), ("2 + 2?", "4"), True),
        (("2 + 2?", 4.0), ("2 + 2?", ["4"]), True),
        (("2 + 2?", None), ("2 + 2?", ""), True),
        (("2 + 2?", None), ("2 + 2?", 4), False),
        (("2 + 2?", 4), ("2 + 2? ", 4), False),
        (('[{"role": "user", "content": "2 + 2?"}]',), ("2 + 2?",), True),
        (([{"role": "system", "content": "2 + 2?"}],), ("2 + 2?",), False),
        (("Which?", "A", ["x", "y"]), ("Which?", "A", {"A": "x", "B": "y"}), True),
        (("Which?", "A", ["x", "y"]), ("Which?", "A", ["y", "x"]), False),
        (("Which?", "A", ["x", "y"]), ("Which?", "A"), False),
    ],
)
def test_a_hash_is_of_what_an_item_asks_and_not_of_how_it_is_written(one, other, equal):
    assert (item_hash(*one) == item_hash(*other)) == equal
